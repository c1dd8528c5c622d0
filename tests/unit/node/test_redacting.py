"""Whatever a tool echoes of a secret does not come back: whole, spelled otherwise, or cut through."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import shlex
import string
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failwell.execute.snapshot import ARGUMENTS_BYTES, PATH_BYTES
from failwell.execute.supervisor import ERRORS_TAIL_BYTES
from failwell.node.redacting import MAX_BYTES, NOTHING, Redaction, period
from failwell.ports.executor import Ended, State

SECRET = "sk-9f3a/Qz+7\"w\\é'%&<x"
LINES = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA7f\nq2Zk9-second-line\n-----END KEY-----"
LONG = base64.b85encode(b"".join(hashlib.sha256(bytes((at,))).digest() for at in range(18))).decode()
END = Ended(
    action=1, state="completed", exit_code=0, signal=None, output=b"", truncated=False, errors=b"", started_us=0,
    ended_us=0, swept=0, proven_by="no child left", why=None, sweep_us=0,
)  # fmt: skip


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _every_letter(text: str) -> str:
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex().upper()}" for at in range(0, len(units), 2))


def _lower_percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


SPELLINGS: dict[str, Callable[[str], str]] = {
    "exact": lambda text: text,
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "percent, most kept": urllib.parse.quote,
    "percent, form": urllib.parse.quote_plus,
    "percent, every letter": _lower_percent,
    "percent, twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "json": _json,
    "json in json": lambda text: _json(_json(text)),
    "json, letters kept": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "every letter in json": _every_letter,
    "python": lambda text: repr(text)[1:-1],
    "html": html.escape,
    "hex": lambda text: text.encode().hex(),
    "hex, large": lambda text: text.encode().hex().upper(),
    "hex, colons": lambda text: text.encode().hex(":"),
    "hex, wrapped": lambda text: "\n".join(_chunks(text.encode().hex(), 16)),
    "hex, escaped": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, one before": lambda text: base64.b64encode(b":" + text.encode() + b"?").decode(),
    "base64, two before": lambda text: base64.b64encode(b"u:" + text.encode() + b"?!").decode(),
    "base64, for addresses": lambda text: base64.urlsafe_b64encode(b"\xff" + text.encode()).decode(),
    "base64, unpadded": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64, wrapped": lambda text: "\n".join(_chunks(base64.b64encode(b"user:" * 9 + text.encode()).decode(), 76)),
    "base64, wrapped in json": lambda text: _json("\n".join(_chunks(base64.b64encode(text.encode()).decode(), 8))),
}


def _chunks(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize(
    "secret", [SECRET, "0123456789abcdef", LINES, "秘密の鍵𝄞です", LONG], ids=["odd", "hex", "lines", "wide", "long"]
)
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.requirement("R3.7")
def test_a_secret_is_found_in_each_common_spelling(spelling: str, secret: str) -> None:
    said = SPELLINGS[spelling](secret).encode()
    cleaned = Redaction({"shop": secret}).clean(b'{"note": "before >' + said + b'< after"}')
    assert b"[secret shop]" in cleaned
    assert cleaned.startswith(b'{"note": "before >')
    assert cleaned.endswith(b'< after"}')
    for piece in secret.splitlines():
        assert SPELLINGS[spelling](piece).encode()[2:-2] not in cleaned
    # Of a long one no more is left than what stands between its parts, such as the colons of hexadecimal.
    assert len(cleaned) <= 35 + len(b"[secret shop]") * 6 + 24


def test_a_secret_that_repeats_itself_takes_no_longer_than_another() -> None:
    """Attack: a tool echoes the most of a long secret again and again: all that ends meanwhile would wait for it."""
    rows = ("x\"y'z&" * 600, "\"'&<> \n" * 580, "𝄞é" * 600)
    for secret in (row[:MAX_BYTES] if row.isascii() else row for row in rows):
        redaction = Redaction({"x": secret})
        data = secret[:-1].encode() * (500_000 // len(secret))
        began = time.monotonic()
        redaction.clean(data)
        assert time.monotonic() - began < 20  # it took minutes


def test_parts_of_a_secret_that_overlap_are_found_both() -> None:
    """Attack: what is found a little too early hides what begins within it."""
    secret = "abcdeXabcde-abcdeXabcdf"
    assert Redaction({"x": secret}).clean(f"abcdeXabcde-{secret}".encode()) == b"abcdeXabcde-[secret x]"
    own = "abcdefghabcde"
    assert Redaction({"x": own}).clean(b"abcdefghabcdefghabcde") == b"[secret x]"
    assert [period(text) for text in (own, "abab", "abcd", "aaaa", "a")] == [8, 2, 4, 1, 1]


def test_a_shell_quotes_in_its_own_way() -> None:
    secret = "it's a secret"
    assert Redaction({"x": secret}).clean(shlex.quote(secret).encode()) == b"'[secret x]'"


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=8, max_size=40),
    st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(sorted(SPELLINGS)),
)  # fmt: skip
def test_no_secret_and_nothing_around_it_makes_it_stay(secret: str, before: bytes, after: bytes, spelling: str) -> None:
    said = SPELLINGS[spelling](secret).encode()
    cleaned = Redaction({"x": secret}).clean(before + said + after)
    assert said not in cleaned
    assert b"[secret x]" in cleaned


@given(st.binary(max_size=300))
def test_what_is_no_secret_stays_as_it_is(data: bytes) -> None:
    assert Redaction({"x": "correct horse battery staple"}).clean(data) == data
    assert NOTHING.ended(replace(END, output=data, truncated=True)).output == data


def test_each_of_several_secrets_is_named_and_the_longer_one_wins() -> None:
    redaction = Redaction({"short": "abcdefgh", "long": "abcdefgh-ijkl"})
    assert redaction.clean(b"abcdefgh-ijkl, abcdefgh") == b"[secret long], [secret short]"


def test_a_line_of_a_secret_is_a_secret() -> None:
    """Attack: a private key, of which a tool prints the one line that it stumbles over."""
    assert Redaction({"key": LINES}).clean(b"at q2Zk9-second-line:") == b"at [secret key]:"


@pytest.mark.parametrize("state", ["completed", "failed", "interrupted_confirmed", "unknown"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.requirement("R3.10")
def test_output_that_was_cut_through_a_secret_holds_no_part_of_it(spelling: str, state: State) -> None:
    """Attack: so much output that the cap cuts through the secret, and the rest of it is told by another call."""
    secret = "".join(string.ascii_letters[at * 7 % 52] for at in range(24))
    said = b"." * 400 + SPELLINGS[spelling](secret).encode()
    redaction = Redaction({"x": secret})
    for cut in range(401, len(said)):
        end = replace(
            END, state=state, exit_code=0 if state in ("completed", "failed") else None, output=said[:cut],
            truncated=state in ("completed", "failed"),
        )  # fmt: skip
        cleaned = redaction.ended(end)
        assert cleaned.truncated
        assert set(cleaned.output) == {ord(".")}


def test_the_tail_of_errors_that_begins_in_a_secret_holds_no_part_of_it() -> None:
    secret = "0123456789abcdefghij"
    for cut in range(1, 20):
        errors = secret[cut:].encode() + b" is no key " + b"." * ERRORS_TAIL_BYTES
        cleaned = Redaction({"x": secret}).ended(replace(END, state="failed", exit_code=1, errors=errors)).errors
        assert not any(letter in cleaned for letter in secret[cut:].encode().translate(None, b"aeikno"))
        assert cleaned.endswith(b"...")


@pytest.mark.requirement("R3.11")
def test_nobody_learns_by_asking_whether_they_guessed_a_part() -> None:
    """Attack: an agent has a tool echo its guess of the first letters, at the very place where output is cut.

    Were a part replaced, a right guess would look other than a wrong one, and the secret be guessed letter by letter.
    """
    secret = "tr0ub4dor&3-and-more"
    redaction = Redaction({"x": secret})
    for known in range(1, len(secret)):
        right, wrong = secret[:known], secret[: known - 1] + "#"
        for truncated, code in ((True, 0), (False, None)):
            end = replace(END, truncated=truncated, exit_code=code)
            ends = [redaction.ended(replace(end, output=b"." * 500 + guess.encode())) for guess in (right, wrong)]
            assert len({len(each.output) for each in ends}) == 1


def test_a_completed_result_loses_nothing_at_its_edges() -> None:
    end = replace(END, output=b"sk-", errors=b"sk-")
    assert Redaction({"x": "sk-9f3aQz7w"}).ended(end) == end


def test_words_and_snapshots_are_cleaned_and_stay_readable() -> None:
    secret = 'with "quotes" in it'
    redaction = Redaction({"shop": secret})
    snapshot = json.dumps({"processes": [{"arguments": ["curl", f"-Hx: {secret}"]}], secret: 1, "n": [1, None, True]})
    end = redaction.ended(
        replace(END, why=f"cannot execute {secret}", proven_by=f"{secret} gone", snapshot=snapshot.encode())
    )
    assert end.why == "cannot execute [secret shop]"
    assert end.proven_by == "[secret shop] gone"
    assert json.loads(end.snapshot or b"") == {
        "processes": [{"arguments": ["curl", "-Hx: [secret shop]"]}], "[secret shop]": 1, "n": [1, None, True],
    }  # fmt: skip
    assert redaction.ended(replace(END, snapshot=f"no json {secret}".encode())).snapshot == b"{}"


def test_a_redaction_does_not_print_what_it_hides() -> None:
    assert SECRET not in repr(Redaction({"x": SECRET}))


def test_a_snapshot_holds_no_part_of_a_secret_where_something_was_cut() -> None:
    """Attack: a command line, a path or the tail of output ends, or begins, within the secret."""
    secret = "0123456789abcdefghij"
    redaction = Redaction({"x": secret})
    for cut in range(1, len(secret)):
        for spoiled in (
            {"output_tail": secret[cut:] + "z" * 900}, {"errors_tail": "z" * 900 + secret[:cut]},
            {"arguments": ["z" * (ARGUMENTS_BYTES - cut - 1), secret[:cut]]},
            {"files": [{"fd": 3, "to": "z" * (PATH_BYTES - cut) + secret[:cut]}]},
        ):  # fmt: skip
            said = redaction.snapshot(json.dumps(spoiled).encode())
            shown = "".join(str(value) for value in _texts(json.loads(said)))
            assert set(shown) <= {"z"}, (spoiled, said)
    whole = {"arguments": ["curl", "0123"], "files": [{"fd": 1, "to": "/dev/null"}]}
    assert json.loads(redaction.snapshot(json.dumps(whole).encode())) == whole


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def test_two_redactions_are_one() -> None:
    both = Redaction({"a": "first-secret"}).also(Redaction({"b": "another secret"}))
    assert both.clean(b"first-secret, another secret") == b"[secret a], [secret b]"
    assert both.cut(b"." * 100, tail=True) == b"." * 16
    assert NOTHING.also(both).clean(b"first-secret") == b"[secret a]"
