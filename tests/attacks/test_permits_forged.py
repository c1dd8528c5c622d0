"""A stranger, an agent and a thief at a tool server: permits forged, bent, replayed, kept for later, or too late."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from failwell.permits import PermitRefused, Verifier
from failwell.permits import __main__ as permits_command
from tests.unit.permits.minting import (
    AGENT,
    ARGUMENTS,
    AUDIENCE,
    ISSUER,
    SECOND_US,
    START_US,
    TOOL,
    Clock,
    Node,
    part,
    server,
)

CLOCK = Clock()
NODE = Node(CLOCK)
STRANGER = Node(CLOCK, b"\x07" * 32)
ROOT = Path(__file__).resolve().parents[2]


def code(verifier: Verifier, token: Any, **more: Any) -> str:
    """Why a permit is refused, "" where it is good."""
    try:
        verifier.check(token, **{"tool": TOOL, "arguments": ARGUMENTS, **more})
    except PermitRefused as refused:
        return refused.code
    return ""


def signed_with(algorithm: str, signer: Callable[[bytes], bytes], **head: Any) -> str:
    signed = f"{part(NODE.header(alg=algorithm, **head))}.{part(NODE.claims())}"
    return f"{signed}.{part(signer(signed.encode()))}"


def under_public_key(algorithm: str, secret: bytes) -> str:
    made = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[algorithm]
    return signed_with(algorithm, lambda text: hmac.new(secret, text, made).digest())


# ---- other keys and algorithms -----------------------------------------------------------------------------------


def unsigned(*, alg: str = "none", signature: str = "") -> str:
    return f"{part(NODE.header(alg=alg))}.{part(NODE.claims())}.{signature}"


def by_curve() -> str:
    key = ECKey.generate_key("P-256")
    return signed_with("ES256", lambda text: hashlib.sha512(text).digest(), jwk=key.as_dict(private=False))


FORGED: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "alg none, nothing signed": (unsigned, {"malformed"}),
    "alg none, 64 bytes of nothing": (lambda: unsigned(signature=part(bytes(64))), {"algorithm"}),
    "alg None": (lambda: unsigned(alg="None", signature=part(bytes(64))), {"algorithm"}),
    "HS256 under the public key": (lambda: under_public_key("HS256", NODE.key.public), {"malformed", "algorithm"}),
    "HS512 under the public key": (lambda: under_public_key("HS512", NODE.key.public), {"algorithm"}),
    "HS512 under the published set": (lambda: under_public_key("HS512", NODE.jwks().encode()), {"algorithm"}),
    "ES256 with a key of its own": (by_curve, {"algorithm", "header"}),
    "Ed25519, the newer name": (lambda: NODE.token(head=NODE.header(alg="Ed25519")), {"algorithm"}),
    "another's key under its own id": (STRANGER.token, {"key"}),
    "another's key under our id": (lambda: STRANGER.token(head=NODE.header()), {"signature"}),
    "no id": (lambda: NODE.token(head=NODE.header(kid=None)), {"header"}),
    "an id that is no text": (lambda: NODE.token(head=NODE.header(kid=7)), {"header"}),
    "an id that is a path": (lambda: NODE.token(head=NODE.header(kid="../../permits.jwks")), {"key"}),
    "its own key in jwk": (
        lambda: STRANGER.token(head=NODE.header(jwk=json.loads(STRANGER.jwks())["keys"][0])), {"header"},
    ),
    "its own set at jku": (lambda: NODE.token(head=NODE.header(jku="https://evil.example/keys")), {"header"}),
    "a certificate at x5u": (lambda: NODE.token(head=NODE.header(x5u="https://evil.example/cert")), {"header"}),
    "crit": (lambda: NODE.token(head=NODE.header(crit=["exp"])), {"header"}),
    "crit and b64": (lambda: NODE.token(head=NODE.header(crit=["b64"], b64=False)), {"header"}),
    "another type": (lambda: NODE.token(head=NODE.header(typ="JWT")), {"type"}),
    "no type": (lambda: NODE.token(head=NODE.header(typ=None)), {"type"}),
    "the type in capitals": (lambda: NODE.token(head=NODE.header(typ="FAILWELL-PERMIT+JWT")), {"type"}),
    "a header that is a list": (lambda: NODE.token(head=["alg", "EdDSA"]), {"header"}),
    "a header that says alg twice": (
        lambda: NODE.token(head=(b'{"alg":"none",' + json.dumps(NODE.header()).encode()[1:])), {"header"},
    ),
    "a header with spaces": (lambda: NODE.token(head=json.dumps(NODE.header()).encode()), {"header"}),
    "a header 1 MiB deep": (lambda: NODE.token(head=b"[" * 600), {"header"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.requirement("R8.23")
def test_a_permit_that_the_node_did_not_sign_as_it_signs_is_refused(name: str) -> None:
    make, codes = FORGED[name]
    assert code(server(NODE, CLOCK), make()) in codes


# ---- other words under a good signature --------------------------------------------------------------------------

BENT: dict[str, tuple[dict[str, Any], str]] = {
    "another log": ({"iss": "failwell/fedcba9876543210"}, "issuer"),
    "another server": ({"aud": "billing-api"}, "audience"),
    "for several servers": ({"aud": [AUDIENCE, "billing-api"]}, "claims"),
    "for this server in a list": ({"aud": [AUDIENCE]}, "claims"),
    "another tool": ({"tool": "payments.cancel"}, "tool"),
    "the tool in capitals": ({"tool": TOOL.upper()}, "tool"),
    "other arguments": ({"arguments": {**ARGUMENTS, "amount": "4990"}}, "arguments"),
    "an amount as a number": ({"arguments": {**ARGUMENTS, "amount": 49.9}}, "arguments"),
    "one argument more": ({"arguments": {**ARGUMENTS, "iban": "DE00"}}, "arguments"),
    "no arguments": ({"arguments": {}}, "arguments"),
    "another salt": ({"salt": "0" * 32}, "arguments"),
    "a short salt": ({"salt": "00"}, "claims"),
    "a salt in capitals": ({"salt": "AB" * 16}, "claims"),
    "lapsed": ({"issued_us": START_US - 36 * SECOND_US}, "expired"),
    "lapsed long ago": ({"issued_us": START_US - 3000 * SECOND_US}, "expired"),
    "from the future": ({"issued_us": START_US + 5 * SECOND_US + 1}, "not-yet"),
    "from the far future": ({"issued_us": START_US + 10**15}, "not-yet"),
    "living for an hour": ({"exp": START_US // SECOND_US + 3600}, "lifetime"),
    "living for ever": ({"exp": 2**53 - 1}, "lifetime"),
    "older than the server, and still living": (
        {"issued_us": START_US - 3601 * SECOND_US, "exp": START_US // SECOND_US + 20}, "lifetime",
    ),
    "ending before it begins": ({"exp": START_US // SECOND_US}, "claims"),
    "begun before it was issued": ({"nbf": 1}, "claims"),
    "a second that is not the microsecond's": ({"iat": START_US // SECOND_US - 1}, "claims"),
    "iat as text": ({"iat": str(START_US // SECOND_US)}, "claims"),
    "exp as a fraction": ({"exp": START_US / SECOND_US + 30}, "claims"),
    "exp as true": ({"exp": True}, "claims"),
    "exp as null": ({"exp": None, "iat": None}, "claims"),
    "epoch below nothing": ({"epoch": -1}, "claims"),
    "epoch as text": ({"epoch": "1"}, "claims"),
    "action as true": ({"action": True}, "claims"),
    "jti missing": ({"jti": None}, "claims"),
    "jti empty": ({"jti": ""}, "claims"),
    "jti as a list": ({"jti": ["0" * 32]}, "claims"),
    "agent as a list": ({"sub": [AGENT]}, "claims"),
    "agent empty": ({"sub": ""}, "claims"),
    "agent of two lines": ({"sub": "refund-bot\nadmin"}, "claims"),
    "a chain of names": ({"chain": ["outer-bot"]}, "claims"),
    "a chain that goes on": ({"chain": [["outer-bot", 1, 2]]}, "claims"),
    "a scope that is none": ({"scopes": [["everything", 1]]}, "claims"),
    "a scope that is an agent": ({"scopes": [["agent:other-bot", 2**52]]}, "claims"),
    "scopes without end": ({"scopes": [["all", 0]] * 300}, "claims"),
    "a claim more": ({"admin": True}, "claims"),
    "no scopes": ({"scopes": None}, "claims"),
}  # fmt: skip


@pytest.mark.parametrize("name", BENT)
def test_a_signed_permit_that_says_anything_else_is_refused(name: str) -> None:
    bent, wanted = BENT[name]
    assert code(server(NODE, CLOCK), NODE.token(**bent)) == wanted


@pytest.mark.parametrize(
    "bend",
    [
        lambda text: '{"tool":"payments.cancel",' + text[1:],
        lambda text: text[:-1] + ',"epoch":99}',
        lambda text: text.replace(":", ": "),
        lambda text: text + " ",
        lambda text: "\ufeff" + text,
        lambda text: text.replace('"exp":', '"exp":0'),
        lambda text: text.replace('"exp":', '"exp":1e9,"x":'),
        lambda text: text.replace("refund-bot", "\\u0072efund-bot"),
        lambda text: text.replace('"epoch":1', '"epoch":NaN'),
        lambda text: text.replace('"epoch":1', '"epoch":9007199254740993'),
        lambda text: "[" * 3000,
        lambda text: "null",
        lambda text: "",
    ],
    ids=[
        "a claim twice, first", "a claim twice, last", "blanks", "blank at the end", "byte order mark", "leading zero",
        "exponent", "escaped", "NaN", "beyond exact integers", "deep", "null", "nothing",
    ],
)  # fmt: skip
def test_claims_have_one_spelling(bend: Callable[[str], str]) -> None:
    text = json.dumps(NODE.claims(), separators=(",", ":"), sort_keys=True)
    assert code(server(NODE, CLOCK), NODE.token(payload=bend(text).encode())) in {"claims", "malformed"}


@pytest.mark.parametrize(
    "token",
    [
        None, 7, b"bytes", "", ".", "..", "...", "a.b", "a.b.c.d", "a" * 8193, "\0", "é.é.é", "a b.c.d",
        NODE.token() + "=", NODE.token() + "\n", " " + NODE.token(), NODE.token().replace(".", ".."),
        f"Bearer {NODE.token()}", NODE.token() + "." + part(b"more"), "{}", json.dumps({"payload": "a"}),
    ],
)  # fmt: skip
def test_what_is_no_compact_token_is_refused_as_that(token: Any) -> None:
    assert code(server(NODE, CLOCK), token) in {"malformed", "too-large"}


def test_no_change_of_a_permits_letters_leaves_it_good() -> None:
    """10,000 seeded mutations of good permits: bits, letters, parts cut, doubled, exchanged with another's."""
    dice = random.Random(20261123)
    verifier = server(NODE, CLOCK)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0é"
    good, other = NODE.token(), NODE.token(epoch=2, arguments={"order_id": "B-1"})
    for _ in range(10_000):
        text = good
        for _ in range(dice.choice((1, 1, 1, 2, 5))):
            place = dice.randrange(len(text)) if text else 0
            match dice.randrange(6):
                case 0 | 1:
                    text = text[:place] + dice.choice(letters) + text[place + 1 :]
                case 2:
                    text = text[:place] + text[place + dice.randrange(1, 9) :]
                case 3:
                    text = text[:place] + dice.choice(letters) + text[place:]
                case 4:
                    end = place + dice.randrange(1, 60)
                    text = text[:place] + other[place:end] + text[end:]
                case _:
                    parts = text.split(".")
                    parts[dice.randrange(len(parts))] = dice.choice(other.split("."))
                    text = ".".join(parts)
        if text not in (good, other):
            assert code(verifier, text) != "", text
    assert code(verifier, good) == ""  # nothing of all that used it up


# ---- used again, kept, and late ----------------------------------------------------------------------------------

ONCE = """
import sys
from pathlib import Path
from failwell.permits import PermitRefused, Verifier
from failwell.permits import __main__ as permits_command
keys, store, start_us = Path(sys.argv[1]).read_text(), sys.argv[2], int(sys.argv[3])
verifier = Verifier(keys, issuer=%r, audience=%r, store=store, clock=lambda: start_us)
print("ready", flush=True)
for token in sys.stdin.read().split():
    try:
        verifier.check(token, tool=%r, arguments=%r)
        print("good", flush=True)
    except PermitRefused as refused:
        print(refused.code, flush=True)
""" % (ISSUER, AUDIENCE, TOOL, ARGUMENTS)  # noqa: UP031  the braces are Python's


@pytest.mark.requirement("R8.21")
def test_of_two_processes_with_one_store_one_gets_each_permit_and_none_after_a_restart(tmp_path: Path) -> None:
    """Attack: the same permits shown to every worker of a server at once, and to new ones after a restart."""
    keys, store = tmp_path / "permits.jwks", tmp_path / "permits.db"
    keys.write_text(NODE.jwks())
    server(NODE, CLOCK, store)
    tokens = [NODE.token() for _ in range(25)]
    for again in (False, True):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", ONCE, str(keys), str(store), str(START_US)], cwd=ROOT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]  # fmt: skip
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n".join(tokens))
            worker.stdin.close()
        said = []
        for worker in workers:
            assert worker.stdout is not None
            said.append(worker.stdout.read().split())
            worker.stdout.close()
            assert worker.wait(20) == 0
        wanted = {"used"} if again else {"good", "used"}
        assert all({one, other} == wanted for one, other in zip(*said, strict=True)), said


def test_a_permit_from_before_the_server_began_is_refused(tmp_path: Path) -> None:
    token = NODE.token()
    for began_us in (START_US + 1, START_US, START_US - 5 * SECOND_US):
        fresh = Verifier(NODE.jwks(), issuer=ISSUER, audience=AUDIENCE, clock=Clock(began_us))
        fresh._clock = Clock(START_US + 1)
        assert code(fresh, token) == "before-start"
    # ... and a store that somebody made anew to be shown it again:
    for number, began_us in enumerate((START_US + 1, START_US - 5 * SECOND_US)):
        made = Verifier(
            NODE.jwks(), issuer=ISSUER, audience=AUDIENCE, store=tmp_path / f"{number}.db", clock=Clock(began_us)
        )
        made._clock = Clock(START_US + 1)
        assert code(made, token) == "before-start"


@pytest.mark.requirement("R8.11")
def test_a_permit_of_a_millisecond_before_the_stop_is_refused_once_the_server_knows_of_it(tmp_path: Path) -> None:
    """The permit itself is good still: the epoch that the resource was told is what refuses it."""
    path = tmp_path / "permits.db"
    workers = [server(NODE, CLOCK, path), server(NODE, CLOCK, path), server(NODE, CLOCK)]
    late = [NODE.token(issued_us=START_US - 1000, epoch=4) for _ in workers]
    workers[0].fence(f"agent:{AGENT}", 5)
    workers[2].fence(f"agent:{AGENT}", 5)
    assert [code(each, token) for each, token in zip(workers, late, strict=True)] == ["epoch"] * 3
    # Attack: tell the server of an older stop, so that the fence comes down again.
    for each in workers:
        each.fence(f"agent:{AGENT}", 4)
        assert code(each, NODE.token(epoch=4)) == "epoch"
        assert code(each, NODE.token(epoch=5)) == ""


def test_a_permit_of_the_next_epoch_voids_all_of_the_one_before() -> None:
    """Attack: keep a permit back until the agent was stopped and let go again, at a server that nobody told."""
    verifier = server(NODE, CLOCK)
    kept = NODE.token(epoch=1)
    handed = NODE.token(epoch=1, sub="sub-bot", chain=[[AGENT, 1]])
    assert code(verifier, NODE.token(epoch=3)) == ""
    assert code(verifier, kept) == "epoch"
    assert code(verifier, handed) == "epoch"
    twice = NODE.token(epoch=3, chain=[[AGENT, 2]])
    assert code(verifier, twice) == "epoch"


# ---- the command -------------------------------------------------------------------------------------------------


def command(*arguments: str, permit: str | None = None, given: str = "") -> tuple[int, dict[str, Any]]:
    out, err = io.StringIO(), io.StringIO()
    environ = {} if permit is None else {"FAILWELL_PERMIT": permit}
    status = permits_command.main([*arguments, "--json"], environ, io.BytesIO(given.encode()), out, err)
    return status, json.loads(out.getvalue()) if out.getvalue() else {}


def test_the_command_uses_a_permit_up_and_closes_the_fence(tmp_path: Path) -> None:
    node = Node(Clock(time.time_ns() // 1000))
    keys, store = tmp_path / "permits.jwks", str(tmp_path / "permits.db")
    keys.write_text(node.jwks())
    given = json.dumps(ARGUMENTS)
    check = ["check", "--keys", str(keys), "--issuer", ISSUER, "--audience", AUDIENCE, "--tool", TOOL, "--store", store]
    assert command("fence", "all", "1", "--store", store)[0] == 3  # a fence that nothing reads is none
    first = node.token()
    assert command(*check, permit=first, given=given)[1]["error"]["code"] == "before-start"
    server(node, node.clock, Path(store).with_name("up.db"))
    check[-1] = str(Path(store).with_name("up.db"))
    status, told = command(*check, permit=first, given=given)
    assert (status, told["schema"], told["agent"], told["action"]) == (0, "failwell/permit-check/1", AGENT, 7)
    status, told = command(*check, permit=first, given=given)
    assert (status, told["error"]["code"]) == (1, "used")
    assert command(*check, permit=node.token(), given="{}")[1]["error"]["code"] == "arguments"
    assert command(*check, given=given)[1]["error"]["code"] == "malformed"
    status, told = command("fence", f"agent:{AGENT}", "2", "--store", check[-1])
    assert (status, told) == (0, {"schema": "failwell/permit-fence/1", "fenced": {f"agent:{AGENT}": 2}})
    assert command(*check, permit=node.token(), given=given)[1]["error"]["code"] == "epoch"
    assert command("fence", "refund-bot", "2", "--store", check[-1])[0] == 2
    assert command("fence", "all", "soon", "--store", check[-1])[0] == 2
    stop = {"action": 7, "agent": AGENT, "epoch": 2, "chain": {"outer-bot": 3}, "scopes": {"all": 1}, "marker": "x/7"}
    status, told = command("fence", "--store", check[-1], given=json.dumps(stop))
    assert told["fenced"] == {"action:7": 1, f"agent:{AGENT}": 2, "agent:outer-bot": 3, "all": 1}
    assert command(*check, permit=node.token(epoch=2, scopes=[["all", 1]]), given=given)[1]["error"]["code"] == "epoch"
    assert command(*check, permit=node.token(epoch=2, scopes=[["all", 1]], action=8), given=given)[0] == 0
    for wrong in ("", "{}", "[]", json.dumps({**stop, "epoch": True}), json.dumps({**stop, "scopes": {"team": 1}})):
        assert command("fence", "--store", check[-1], given=wrong)[0] == 2
