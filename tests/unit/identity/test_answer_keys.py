"""Tokens and codes that travel with pages: good for one page, one person and a while, and for no other workspace."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import InputError, Refused
from failwell.identity import answer_keys, keys
from failwell.identity.answer_keys import AnswerKeys, Claims, open_keys, read_code

NOW_US = 1_795_500_000_000_000
KEY = keys.generate()
OURS = AnswerKeys(KEY, "failwell/x")


def claims(**given: Any) -> Claims:
    plain: dict[str, Any] = {
        "origin": "failwell/x", "purpose": "acknowledge", "page": 7, "person": "anna", "incident": 1, "cycle": 1,
        "expires_us": NOW_US + 60_000_000,
    }  # fmt: skip
    return Claims(**(plain | given))


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_says_what_it_was_made_for() -> None:
    assert OURS.read(OURS.token(claims()), NOW_US) == claims()


def test_a_token_is_good_until_its_time_and_not_beyond() -> None:
    token = OURS.token(claims())
    OURS.read(token, NOW_US + 59_999_999)
    with pytest.raises(Refused, match="too old"):
        OURS.read(token, NOW_US + 60_000_000)


def test_a_token_of_another_key_or_workspace_is_refused() -> None:
    for other in (AnswerKeys(keys.generate(), "failwell/x"), AnswerKeys(KEY, "failwell/y")):
        token = other.token(claims(origin="failwell/x" if other is not OURS else ""))
        if other._origin == "failwell/y":
            token = other.token(claims(origin="failwell/y"))
        with pytest.raises(Refused):
            OURS.read(token, NOW_US)


def test_a_token_changed_in_any_letter_is_refused() -> None:
    token = OURS.token(claims())
    for at in range(len(token)):
        for letter in ("A", "_", "0"):
            if token[at] != letter:
                with pytest.raises(Refused):
                    OURS.read(token[:at] + letter + token[at + 1 :], NOW_US)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "page+jwt"}, {"alg": "HS256", "typ": "page+jwt"},
        {"alg": "Ed25519", "typ": "permit+jwt"}, {"alg": "Ed25519"},
        {"alg": "Ed25519", "typ": "page+jwt", "jwk": {"kty": "OKP"}},
    ],
)  # fmt: skip
def test_a_token_under_another_header_is_refused(header: dict[str, Any]) -> None:
    body = {"iss": "failwell/x", "sub": "anna", "pur": "acknowledge", "page": 7, "inc": 1, "cyc": 1, "exp": 2**31}
    signed = f"{part(header)}.{part(body)}"
    signature = base64.urlsafe_b64encode(KEY.sign(signed.encode())).rstrip(b"=").decode()
    for last in (signature, "A" * 86, ""):
        with pytest.raises(Refused):
            OURS.read(f"{signed}.{last}", NOW_US)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "x" * 5000, "\x00", "a.b." + "c" * 86])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Refused):
        OURS.read(token, NOW_US)


def test_a_code_is_read_however_a_person_writes_it() -> None:
    code = OURS.code(7)
    assert len(code) == 19
    assert read_code(code) == code
    assert read_code(code.lower().replace("-", " ")) == code
    assert read_code(code.replace("0", "o").replace("1", "l")) == code
    assert read_code(code[:-1]) is None
    assert read_code(code + "A") is None


def test_every_page_and_workspace_has_a_code_of_its_own() -> None:
    codes = {OURS.code(page) for page in range(2000)}
    assert len(codes) == 2000
    assert AnswerKeys(KEY, "failwell/y").code(7) != OURS.code(7)
    assert answer_keys.digest_of(OURS.code(7)) == OURS.digest(7)


def test_the_key_is_kept_from_others_and_is_the_same_after_a_restart(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    first = open_keys(tmp_path, "failwell/x")
    assert (tmp_path / "answers.key").stat().st_mode & 0o777 == 0o600
    assert open_keys(tmp_path, "failwell/x").code(3) == first.code(3)
    (tmp_path / "answers.key").chmod(0o644)
    with pytest.raises(InputError):
        open_keys(tmp_path, "failwell/x")
