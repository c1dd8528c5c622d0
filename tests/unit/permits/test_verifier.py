"""The verifier as its tool server uses it: good permits once, and every bound that docs/permits.md states."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey

from failwell.core.errors import InputError, NotFound
from failwell.permits import PermitRefused, Verifier
from failwell.permits.claims import Claims, argument_digest, decode, encode
from failwell.permits.refusal import CODES
from failwell.permits.store import Store
from failwell.permits.tokens import public_set, read_keys, sign, thumbprint
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
    server,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(clock: Clock) -> Node:
    return Node(clock)


def code(verifier: Verifier, token: str, **more: Any) -> str:
    """Why a permit is refused, "" where it is good."""
    try:
        verifier.check(token, **{"tool": TOOL, "arguments": ARGUMENTS, **more})
    except PermitRefused as refused:
        return refused.code if refused.code in CODES else f"a code that nobody knows: {refused.code}"
    return ""


@pytest.mark.parametrize("kept", [False, True], ids=["memory", "store"])
@pytest.mark.requirement("R8.12")
def test_a_good_permit_says_who_may_do_what_and_is_good_once(
    clock: Clock, node: Node, tmp_path: Path, kept: bool
) -> None:
    verifier = server(node, clock, tmp_path / "permits.db" if kept else None)
    token = node.token(chain=[["outer-bot", 4]], epoch=2)
    permit = verifier.check(token, tool=TOOL, arguments=ARGUMENTS, agent=AGENT, action=7)
    assert (permit.agent, permit.tool, permit.action, permit.epoch) == (AGENT, TOOL, 7, 2)
    assert (permit.issuer, permit.audience, permit.chain) == (ISSUER, AUDIENCE, ("outer-bot",))
    assert permit.issued_us == START_US
    assert permit.expires == START_US // SECOND_US + 30
    assert code(verifier, token) == "used"
    assert code(verifier, node.token()) == "epoch"
    assert code(verifier, node.token(epoch=2, chain=[["outer-bot", 3]])) == "epoch"
    assert code(verifier, node.token(epoch=2)) == ""


def test_arguments_may_be_given_as_the_text_they_came_in(clock: Clock, node: Node) -> None:
    verifier = server(node, clock)
    respelled = '{ "order_id": "A\\u002d1009",\n "amount": "49.90" }'
    assert code(verifier, node.token(), arguments=respelled) == ""
    assert code(verifier, node.token(), arguments=respelled.encode()) == ""
    assert code(verifier, node.token(arguments={"n": 2.0}), arguments='{"n": 2e0}') == ""
    assert (
        code(verifier, node.token(), arguments='{"order_id":"A-1009","amount":"49.90","amount":"49.90"}') == "arguments"
    )
    assert code(verifier, node.token(), arguments="[]") == "arguments"
    assert code(verifier, node.token(), arguments=b"\xff") == "arguments"
    assert code(verifier, node.token(), arguments={"n": float("nan")}) == "arguments"


def test_a_refusal_for_the_call_uses_nothing_up(clock: Clock, node: Node) -> None:
    verifier = server(node, clock)
    token = node.token()
    assert code(verifier, token, tool="payments.cancel") == "tool"
    assert code(verifier, token, arguments={**ARGUMENTS, "amount": "50.90"}) == "arguments"
    assert code(verifier, token, agent="other-bot") == "agent"
    assert code(verifier, token, action=8) == "action"
    assert code(verifier, token) == ""


def test_a_permit_is_good_from_leeway_before_its_issue_until_leeway_after_its_end(clock: Clock, node: Node) -> None:
    verifier = server(node, clock, leeway_s=5)
    early, late = node.token(issued_us=START_US + 5 * SECOND_US), node.token()
    clock.now_us = START_US - 1
    assert code(verifier, early) == "not-yet"
    clock.now_us = START_US
    assert code(verifier, early) == ""
    clock.now_us = (START_US // SECOND_US + 35) * SECOND_US
    assert code(verifier, late) == "expired"
    clock.now_us -= 1
    assert code(verifier, late) == ""


def test_a_long_life_is_refused(clock: Clock, node: Node) -> None:
    verifier = server(node, clock, max_lifetime_s=30)
    assert code(verifier, node.token()) == ""
    assert code(verifier, node.token(exp=START_US // SECOND_US + 31)) == "lifetime"
    assert code(server(node, clock, max_lifetime_s=31), node.token(exp=START_US // SECOND_US + 31)) == ""


def test_what_may_be_older_than_the_memory_is_refused_and_taken_a_leeway_later(clock: Clock, node: Node) -> None:
    verifier = Verifier(node.jwks(), issuer=ISSUER, audience=AUDIENCE, clock=clock)
    assert code(verifier, node.token()) == "before-start"
    clock.pass_s(5)
    assert code(verifier, node.token()) == "before-start"
    clock.now_us += 1
    assert code(verifier, node.token()) == ""


@pytest.mark.parametrize("ahead_s", [-5, 0, 4, 5])
@pytest.mark.requirement("R8.22")
def test_no_permit_is_good_before_and_after_a_restart_however_the_clocks_stand(ahead_s: int) -> None:
    """Attack: the node's clock runs ahead, so that a permit that was used just before a restart looks issued after."""
    node_clock, server_clock = Clock(START_US + ahead_s * SECOND_US), Clock()
    node = Node(node_clock)
    before = server(node, server_clock)
    tokens = []
    for _ in range(20):
        tokens.append(node.token())
        assert code(before, tokens[-1]) == ""
        node_clock.pass_s(0.5)
        server_clock.pass_s(0.5)
    after = Verifier(node.jwks(), issuer=ISSUER, audience=AUDIENCE, clock=server_clock)
    for _ in range(60):
        assert "" not in {code(after, token) for token in tokens}
        server_clock.pass_s(0.75)


@pytest.mark.parametrize("kept", [False, True], ids=["memory", "store"])
def test_what_was_forgotten_stays_refused_though_the_clock_is_set_back(
    clock: Clock, node: Node, tmp_path: Path, kept: bool
) -> None:
    verifier = server(node, clock, tmp_path / "permits.db" if kept else None)
    token = node.token()
    assert code(verifier, token) == ""
    clock.pass_s(60)
    assert code(verifier, node.token()) == ""  # by which the first is forgotten
    clock.now_us = START_US + 1
    assert code(verifier, token) == "expired"


def test_a_full_memory_takes_nothing_until_something_has_lapsed(clock: Clock, node: Node) -> None:
    verifier = server(node, clock, remember=3)
    tokens = [node.token() for _ in range(3)]
    assert [code(verifier, token) for token in tokens] == ["", "", ""]
    assert code(verifier, node.token()) == "full"
    assert code(verifier, tokens[0]) == "used"
    clock.pass_s(36)
    assert code(verifier, node.token()) == ""


def test_fenced_scopes_never_go_down_and_know_each_kind(clock: Clock, node: Node) -> None:
    verifier = server(node, clock)
    scopes = [("all", 1), ("contract:refunds", 3), ("group:money", 2), (f"tool:{TOOL}", 5)]
    for scope, epoch in (*scopes, (f"agent:{AGENT}", 1), ("agent:outer-bot", 9)):
        token = node.token(scopes=scopes, chain=[["outer-bot", 9]])
        verifier.fence(scope, epoch + 1)
        assert code(verifier, token) == "epoch"
        verifier.fence(scope, epoch)
        assert code(verifier, token) == "epoch"
        verifier = server(node, clock)
        verifier.fence(scope, epoch)
        assert code(verifier, token) == ""
    for wrong in ("", "refund-bot", "agent:", "group", "All", "team:x", "agent:a\nb"):
        with pytest.raises(InputError):
            verifier.fence(wrong, 1)
    no_epochs: list[Any] = [-1, 2**53, True, "1", 1.0]
    for each in no_epochs:
        with pytest.raises(InputError):
            verifier.fence("all", each)


def test_a_store_outlives_the_process_and_is_one_for_all(clock: Clock, node: Node, tmp_path: Path) -> None:
    path = tmp_path / "permits.db"
    first, second = server(node, clock, path), server(node, clock, path)
    token, old = node.token(), node.token()
    assert code(first, token) == ""
    assert code(second, token) == "used"
    second.fence(f"agent:{AGENT}", 2)
    restarted = Verifier(node.jwks(), issuer=ISSUER, audience=AUDIENCE, store=path, clock=clock)
    assert [code(each, old) for each in (first, restarted)] == ["epoch", "epoch"]
    assert code(restarted, node.token(epoch=2)) == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_store_that_cannot_be_trusted_is_not(clock: Clock, node: Node, tmp_path: Path) -> None:
    path = tmp_path / "permits.db"
    verifier = server(node, clock, path)
    with pytest.raises(InputError, match="audience orders-api, not other"):
        server(node, clock, path, audience="other")
    with pytest.raises(InputError, match="leeway_us"):
        server(node, clock, path, leeway_s=6)
    path.chmod(0o620)
    with pytest.raises(InputError, match="others may write"):
        server(node, clock, path)
    path.unlink()
    assert code(verifier, node.token()) == "store"
    assert not path.exists()
    with pytest.raises(NotFound):
        Store(path)
    server(node, clock, path)
    assert code(verifier, node.token()) == "store"  # another one, which knows nothing
    path.write_bytes(b"garbage that is no database, long enough to be read as one" * 20)
    assert code(verifier, node.token()) == "store"
    with pytest.raises(InputError):
        server(node, clock, path)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with pytest.raises(InputError):
        server(node, clock, link)


@pytest.mark.parametrize("kept", [False, True], ids=["memory", "store"])
def test_of_many_threads_one_gets_the_permit(clock: Clock, node: Node, tmp_path: Path, kept: bool) -> None:
    verifier = server(node, clock, tmp_path / "permits.db" if kept else None)
    for _ in range(3):
        token = node.token()
        got: list[str] = []
        together = threading.Barrier(8)

        def use(token: str = token, got: list[str] = got, together: threading.Barrier = together) -> None:
            together.wait()
            got.append(code(verifier, token))

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(got) == ["", *["used"] * 7]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_has_no_part_in_the_memory_but_in_the_store(clock: Clock, node: Node, tmp_path: Path) -> None:
    lone, shared = server(node, clock), server(node, clock, tmp_path / "permits.db")
    token = node.token()
    assert code(shared, token) == ""
    pid = os.fork()
    if pid == 0:
        told = code(lone, node.token()), code(shared, token), code(shared, node.token())
        os._exit(0 if told == ("forked", "used", "") else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_keys_are_public_ed25519_keys_under_their_own_ids(node: Node) -> None:
    good = public_set(node.key.public)["keys"][0]
    assert list(read_keys(json.dumps({"keys": [good]}))) == [node.kid]
    bad: list[Any] = [
        [], {}, "keys", [good, good], [{**good, "d": "AAAA"}], [{**good, "kid": "another"}], [{**good, "use": "enc"}],
        [{**good, "alg": "HS256"}], [{**good, "x": good["x"][:-1]}], [{**good, "x": 7}], [{**good, "crv": "Ed448"}],
        [{"kty": "oct", "k": "AAAA"}], [{"kty": "RSA", "n": "AAAA", "e": "AQAB"}], [None],
    ]  # fmt: skip
    for listed in bad:
        with pytest.raises(InputError, match="no set of keys"):
            read_keys(json.dumps({"keys": listed}))
    for text in ("", "[]", "{}", '{"keys": [], "keys": []}', "null"):
        with pytest.raises(InputError, match="no set of keys"):
            read_keys(text)


def test_keys_can_be_changed_without_forgetting_what_was_used(clock: Clock, node: Node) -> None:
    verifier, other = server(node, clock), Node(clock, bytes(reversed(range(32))))
    token = node.token()
    assert code(verifier, token) == ""
    assert code(verifier, other.token()) == "key"
    verifier.take_keys(json.dumps(public_set(node.key.public, other.key.public)))
    assert [code(verifier, each) for each in (token, other.token())] == ["used", ""]
    with pytest.raises(InputError):
        verifier.take_keys("{}")
    assert code(verifier, other.token()) == ""


def test_a_thumbprint_is_that_of_rfc_8037() -> None:
    """RFC 8037 A.3: the thumbprint of the key of A.2."""
    public = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_others_verify_and_read_what_we_sign(clock: Clock, node: Node) -> None:
    """Foreign check: cryptography's Ed25519 on the signing input by hand, and joserfc as it comes."""
    claims = Claims(
        issuer=ISSUER, audience=AUDIENCE, agent=AGENT, jti="0" * 32, issued_us=START_US,
        expires=START_US // SECOND_US + 30, tool=TOOL, action=7, salt="1" * 32,
        digest=argument_digest("1" * 32, ARGUMENTS), epoch=3, chain=(("outer-bot", 1),), scopes=(("all", 2),),
    )  # fmt: skip
    token = sign(encode(claims), node.private, node.kid)
    signed, _, signature = token.rpartition(".")
    Ed25519PublicKey.from_public_bytes(node.key.public).verify(
        base64.urlsafe_b64decode(signature + "=="), signed.encode()
    )
    key = OKPKey.import_key(public_set(node.key.public)["keys"][0])
    with pytest.warns(SecurityWarning, match="RFC 9864"):  # of the algorithm's name, not of the signature
        read = jws.deserialize_compact(token, key, algorithms=["EdDSA"])
    assert read.headers() == {"alg": "EdDSA", "kid": node.kid, "typ": "failwell-permit+jwt"}
    assert json.loads(read.payload)["sub"] == AGENT
    assert decode(read.payload) == claims
    assert code(server(node, clock), token) == ""
    many = tuple((f"group:{'g' * 50}{number}", number) for number in range(100))
    wide = encode(dataclasses.replace(claims, scopes=many))
    with pytest.raises(InputError, match="at most 8192 travel"):
        sign(wide, node.private, node.kid)


def test_the_library_is_all_that_a_tool_server_loads() -> None:
    """No ledger, gate, client or typed records: a tool server starts it in a fraction of a second."""
    script = "import sys, failwell.permits; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20
    ).stdout.split()
    ours = {name.split(".")[1] for name in loaded if name.startswith("failwell.")}
    assert ours == {"core", "permits"}
    assert not {"msgspec", "apsw", "cedarpy", "typer", "rich"} & set(loaded)
    assert {name for name in loaded if name.startswith("failwell.core.")} == {
        "failwell.core.canonical", "failwell.core.errors", "failwell.core.release",
    }  # fmt: skip
