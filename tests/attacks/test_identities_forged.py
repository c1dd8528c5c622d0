"""The adversary wants to be taken for an agent: with certificates, tokens and proofs that are not theirs to use."""

from __future__ import annotations

import base64
import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from failwell.client import powers
from failwell.client.wire import Wire, hello
from failwell.core import orders as o
from failwell.core.errors import FailwellError, InputError, Refused
from failwell.identity import agents, issuer, keys
from failwell.node import settings, watch
from tests.simulate.fixtures import house, model, stage
from tests.simulate.house import SPIFFE, Caller, House, await_true
from tests.unit.identity.authority import HOUR, Authority, der, now, other_keys, pem, usage
from tests.unit.identity.tokens import AUDIENCE, ISSUER, Provider

__all__ = ["house", "stage"]

BOT = f"{SPIFFE}refund-bot"
MESH, PROVIDER = Authority("spiffe://shop.example"), Provider()
TRUST = f"""
[trust.mesh]
kind = "x509-svid"
trust_domain = "shop.example"
bundle = "mesh.pem"

[trust.login]
kind = "oidc"
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks = "login.json"
agents = {{ "repo:shop/bots:ref" = "refund-bot", "repo:shop/bots:other" = "other-bot" }}
"""


class Certified:
    """A certificate that the node made out, with its key."""

    def __init__(self, caller: Caller) -> None:
        self.key = keys.generate()
        public = base64.b64encode(self.key.public).decode()
        self.told = caller.wire.call("certify", agent=caller.agent, key=public, timeout_s=10)
        self.pem: str = self.told["certificate"]
        self.certificate = x509.load_pem_x509_certificate(self.pem.encode())


@pytest.fixture(scope="module")
def lived(stage: Path) -> Iterator[House]:
    """One node for all who are merely refused; it trusts a foreign domain and a provider of tokens."""
    made = model().copy(stage / "lived")
    (made.workspace.path / "mesh.pem").write_text(pem(MESH.certificate))
    (made.workspace.path / "login.json").write_text(PROVIDER.jwks())
    made.node()
    applied(made, (made.workspace.path / settings.FILE_NAME).read_text() + TRUST)
    yield made
    made.hold_true()
    made.hang_up()
    assert made.nodes[-1].stop() == 0
    made.verify()
    made.tear_down()


def applied(made: House, text: str) -> None:
    """Put settings in force."""
    (made.workspace.path / settings.FILE_NAME).write_text(text)
    digest = watch.digest(settings.settings_text(settings.read_settings(made.workspace.path)))
    previous = made.ask("settings")["digest"]
    made.hand("anna").give("config.apply", o.ConfigApply(settings=digest, previous=previous))


@pytest.fixture(scope="module")
def certified(lived: House) -> Certified:
    return Certified(lived.caller())


def connected(house: House) -> Caller:
    return house.caller(None)


def show(
    caller: Caller, certificate: str, key: keys.SigningKey | None, name: str = BOT, proof: bytes | None = None
) -> Any:
    """Say hello with a certificate; the proof is made with `key`, unless it is given."""
    if proof is None:
        assert key is not None
        greeting = caller.wire.greeting
        challenge = bytes.fromhex(greeting["challenge"])
        proof = agents.prove(key, greeting["origin"], "agent", name, challenge, greeting["node"])
    encoded = base64.b64encode(proof).decode()
    return caller.wire.call(
        "hello", role="agent", name=name, proof=encoded, certificate=certificate, timeout_s=10
    )  # fmt: skip


def present(caller: Caller, token: str, name: str = BOT) -> Any:
    return caller.wire.call("hello", role="agent", name=name, proof="", token=token, timeout_s=10)


def acts(caller: Caller) -> bool:
    """Whether the connection is taken for the agent."""
    caller.agent = BOT
    try:
        caller.open()
        return bool(caller.write("c1")["verdict"]["verdict"] == "ALLOW")
    except Refused as error:
        return error.code != "unauthenticated"


def fresh(**more: Any) -> str:
    """A token of the provider that was made after the node started."""
    at = int(time.time()) + 2
    return PROVIDER.token(**{"iat": at, "exp": at + 300, **more})


# ---- our own certificates ------------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.3")
def test_the_certificate_that_was_made_out_proves_the_agent(lived: House, certified: Certified) -> None:
    caller = connected(lived)
    answer = show(caller, certified.pem, certified.key)
    assert (answer["proved"], answer["way"]) == (BOT, "certificate")
    assert answer["until"] == certified.told["not_after"]
    assert acts(caller)
    again = Certified(caller)  # renewal is asking again
    assert again.told["serial"] != certified.told["serial"]
    assert acts(caller)


def signed_by_ours(house: House, certified: Certified, **more: Any) -> x509.Certificate:
    """What a thief of the authority's key would make: under the serial and key of a certificate on record."""
    key = keys.load_key(house.workspace.keys / issuer.FILE_NAME)
    parent = x509.load_pem_x509_certificate(certified.told["issuer"].encode())
    ours = Authority(key=key.private, certificate=parent)
    public = certified.certificate.public_key()
    return ours.sign(public, **{"uris": [BOT], "serial": certified.certificate.serial_number, **more})


UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
MINUTE = datetime.timedelta(minutes=1)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "lapsed": ({"since": now() - HOUR, "until": now() - MINUTE}, "has lapsed"),
    "not yet valid": ({"since": now() + 2 * HOUR, "until": now() + 3 * HOUR}, "not valid yet"),
    "for another agent": ({"uris": [f"{SPIFFE}other-bot"]}, "is not for"),
    "of another trust domain": ({"uris": ["spiffe://evil.example/agent/refund-bot"]}, "is not for"),
    "for two": ({"uris": [BOT, f"{SPIFFE}other-bot"]}, "is not for"),
    "for nobody": ({"uris": []}, "is not for"),
    "an authority's": ({"ca": True}, "an authority's"),
    "for signing": ({"keys": usage(sign=True)}, "not for proving"),
    "for servers": ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "not made for clients"),
    "with a critical extension nobody knows": ({"extra": UNKNOWN}, "critical extension"),
    "not on record": ({"serial": 4711}, "not on record"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.requirement("R3.3")
def test_a_certificate_of_our_own_authority_is_refused_that_is(lived: House, certified: Certified, what: str) -> None:
    more, why = BAD[what]
    caller = connected(lived)
    with pytest.raises(Refused, match=why) as refused:
        show(caller, der(signed_by_ours(lived, certified, **more)), certified.key)
    assert refused.value.code == "unauthenticated"
    assert not acts(caller)


def test_the_like_of_them_that_is_as_it_should_be_is_taken(lived: House, certified: Certified) -> None:
    assert show(connected(lived), der(signed_by_ours(lived, certified)), certified.key)["proved"] == BOT


@pytest.mark.requirement("R3.3")
def test_a_strangers_certificate_under_our_names_and_serial_is_refused(lived: House, certified: Certified) -> None:
    parent = x509.load_pem_x509_certificate(certified.told["issuer"].encode())
    stranger = Authority(certificate=parent)  # its name and certificate, another key
    serial = certified.certificate.serial_number
    made = stranger.sign(certified.certificate.public_key(), [BOT], serial=serial)
    caller = connected(lived)
    with pytest.raises(Refused, match="does not chain"):
        show(caller, pem(made, parent), certified.key)
    assert not acts(caller)


def test_an_agent_makes_out_nothing_with_its_own_certificate(lived: House, certified: Certified) -> None:
    key = keys.generate()
    forged = Authority(key=certified.key.private, certificate=certified.certificate)
    made = forged.sign(key.private.public_key(), [BOT])
    with pytest.raises(Refused):
        show(connected(lived), pem(made, certified.certificate), key)


@pytest.mark.requirement("R3.2")
def test_a_proof_seen_on_one_connection_opens_no_other(lived: House, certified: Certified) -> None:
    first, second = connected(lived), connected(lived)
    greeting = first.wire.greeting
    challenge = bytes.fromhex(greeting["challenge"])
    seen = agents.prove(certified.key, greeting["origin"], "agent", BOT, challenge, greeting["node"])
    assert show(first, certified.pem, None, proof=seen)["proved"] == BOT
    with pytest.raises(Refused, match="not made with the certificate's key"):
        show(second, certified.pem, None, proof=seen)
    by_key = agents.prove(
        lived.agent_keys["refund-bot"], greeting["origin"], "agent", BOT, challenge, greeting["node"]
    )  # fmt: skip
    with pytest.raises(Refused, match="does not hold"):
        second.wire.call(
            "hello", role="agent", name=BOT, proof=base64.b64encode(by_key).decode(), timeout_s=10
        )  # fmt: skip
    assert not acts(second)


@pytest.mark.requirement("R3.1")
def test_a_certificate_without_its_key_and_the_agents_key_under_anothers_certificate(
    lived: House, certified: Certified
) -> None:
    for key in (keys.generate(), lived.agent_keys["refund-bot"], lived.agent_keys["other-bot"]):
        caller = connected(lived)
        with pytest.raises(Refused, match="not made with the certificate's key"):
            show(caller, certified.pem, key)
        assert not acts(caller)
    with pytest.raises(Refused, match="not on record"):
        show(connected(lived), certified.pem, certified.key, name=f"{SPIFFE}other-bot")


def test_what_is_no_certificate_is_refused_in_words(lived: House) -> None:
    for text in ("", "AAAA", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "\u0441" * 99, "A" * 70_000):
        with pytest.raises(Refused, match=r"certificate"):
            show(connected(lived), text, keys.generate())
    key = keys.generate()
    answer = base64.b64encode(b"x" * 64).decode()
    with pytest.raises(Refused):
        connected(lived).wire.call("hello", role="host", name="shop", proof=answer, certificate="AAAA", timeout_s=10)
    with pytest.raises(Refused):
        connected(lived).wire.call(
            "hello", role="agent", name=BOT, proof=answer, certificate="AAAA", token="a.b.c", timeout_s=10
        )
    assert key.public


def test_a_certificate_with_any_byte_changed_is_refused_like_any_other(lived: House, certified: Certified) -> None:
    caller = connected(lived)
    raw = bytearray(base64.b64decode(der(certified.certificate)))
    for place in range(0, len(raw), 11):
        raw[place] ^= 0x21
        for text in (base64.b64encode(raw).decode(), certified.pem + pem_of(raw)):
            try:
                show(caller, text, certified.key)
            except Refused as error:
                assert error.code == "unauthenticated", error  # noqa: PT017
            else:
                assert text.startswith("-----"), place  # what comes after the agent's own was not looked at
        raw[place] ^= 0x21


def pem_of(raw: bytes | bytearray) -> str:
    body = base64.encodebytes(bytes(raw)).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


# ---- asking for one --------------------------------------------------------------------------------------------------


def test_nobody_gets_a_certificate_for_an_agent_they_did_not_prove_to_be(lived: House) -> None:
    public = base64.b64encode(keys.generate().public).decode()
    for caller, agent in ((connected(lived), BOT), (lived.caller("other-bot"), BOT), (lived.caller(), "nobody")):
        with pytest.raises(Refused, match="has not proved"):
            caller.wire.call("certify", agent=agent, key=public, timeout_s=10)


def test_no_certificate_is_made_out_over_somebody_elses_key(lived: House, certified: Certified) -> None:
    caller = lived.caller("other-bot")
    person = lived.persons["anna"].key.public
    for public in (certified.key.public, lived.agent_keys["refund-bot"].public, person):
        with pytest.raises(Refused, match="in use"):
            caller.wire.call("certify", agent=caller.agent, key=base64.b64encode(public).decode(), timeout_s=10)
    for odd in (bytes(32), bytes([1]) + bytes(31), b"short"):
        with pytest.raises(FailwellError):
            caller.wire.call("certify", agent=caller.agent, key=base64.b64encode(odd).decode(), timeout_s=10)
    with pytest.raises(InputError, match="base64"):
        caller.wire.call("certify", agent=caller.agent, key="\u00e9", timeout_s=10)


def test_an_agent_that_asks_without_end_fills_no_record(lived: House) -> None:
    caller = lived.caller("bot-07")
    for _ in range(64):
        Certified(caller)
    with pytest.raises(Refused, match="64 certificates"):
        Certified(caller)


# ---- foreign authorities -----------------------------------------------------------------------------------------


def svid(caller: Caller, key: Any, certificate: str, name: str = BOT) -> Any:
    from failwell.identity.credential import parse_credential
    from tests.unit.identity.authority import secret

    greeting = caller.wire.greeting
    held = parse_credential(secret(key), certificate.encode(), "here")
    proof = held.prove(greeting["origin"], name, bytes.fromhex(greeting["challenge"]), greeting["node"])
    return show(caller, certificate, None, name, proof)


def test_a_trusted_domain_vouches_for_its_agents_with_keys_of_three_kinds(lived: House) -> None:
    for key in other_keys():
        caller = connected(lived)
        answer = svid(caller, key, pem(MESH.sign(key.public_key(), [BOT])))
        assert (answer["proved"], answer["way"]) == (BOT, "svid")
        assert acts(caller)
        with pytest.raises(Refused, match="another authority"):
            Certified(caller)


def test_another_domain_and_a_lapsed_one_and_a_stranger_vouch_for_nobody(lived: House) -> None:
    key = other_keys()[0]
    public = key.public_key()
    for made in (
        Authority("spiffe://shop.example").sign(public, [BOT]),
        MESH.sign(public, [BOT], since=now() - HOUR, until=now() - MINUTE),
        MESH.sign(public, ["spiffe://evil.example/agent/refund-bot"]),
        MESH.sign(public, [f"{SPIFFE}other-bot"]),
        MESH.sign(public, [BOT], ca=True),
    ):
        caller = connected(lived)
        with pytest.raises(Refused):
            svid(caller, key, pem(made))
        assert not acts(caller)


def test_a_token_proves_its_agent_once(lived: House) -> None:
    token = fresh()
    first, second = connected(lived), connected(lived)
    assert present(first, token)["way"] == "token"
    assert acts(first)
    with pytest.raises(Refused, match="shown before"):
        present(second, token)
    with pytest.raises(Refused, match="shown before"):  # Attack: the same jti under another signature
        present(second, fresh(jti=read(token)["jti"]))
    assert not acts(second)
    with pytest.raises(Refused, match="another authority"):
        Certified(first)


def test_an_authority_that_is_given_up_vouches_on_no_open_connection(lived: House) -> None:
    """Attack: the foreign authority was broken into and is taken out of the settings; what it opened stays open."""
    key = other_keys()[0]
    first, second = connected(lived), connected(lived)
    assert svid(first, key, pem(MESH.sign(key.public_key(), [BOT])))["way"] == "svid"
    assert present(second, fresh())["way"] == "token"
    assert acts(first)
    assert acts(second)
    before = (lived.workspace.path / settings.FILE_NAME).read_text()
    applied(lived, before.replace(TRUST, ""))
    try:
        assert not acts(first)
        assert not acts(second)
    finally:
        applied(lived, before)
    assert not acts(first), "it is proved anew"


def read(token: str) -> dict[str, Any]:
    import json

    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


TOKENS: dict[str, tuple[Any, str]] = {
    "for another audience": (lambda: fresh(aud="shop"), "audience"),
    "another provider's": (lambda: fresh(iss="https://evil.example"), "another provider"),
    "expired": (lambda: fresh(iat=int(time.time()) - 600, exp=int(time.time()) - 1), "expired"),
    "made before the node was there": (lambda: fresh(iat=int(time.time()) - 3000), "older"),
    "another agent's": (lambda: fresh(sub="repo:shop/bots:other"), "somebody else"),
    "nobody's here": (lambda: fresh(sub="repo:evil/bots:ref"), "somebody else"),
    "signed by nothing": (PROVIDER.unsigned, "algorithm"),
    "signed with the public key as secret": (PROVIDER.by_public_key, "algorithm"),
    "a stranger's": (lambda: Provider().token(), "signature"),
    "no token": (lambda: "a.b", "no signed token"),
}


@pytest.mark.parametrize("what", TOKENS)
def test_a_token_is_refused_that_is(lived: House, what: str) -> None:
    make, why = TOKENS[what]
    caller = connected(lived)
    with pytest.raises(Refused, match=why) as refused:
        present(caller, make())
    assert refused.value.code == "unauthenticated"
    assert not acts(caller)


def test_who_is_not_mapped_gets_in_by_no_token(lived: House) -> None:
    with pytest.raises(Refused, match="no provider"):
        present(connected(lived), fresh(), name=f"{SPIFFE}bot-01")


# ---- taken away ----------------------------------------------------------------------------------------------------


def test_a_revoked_agent_loses_its_open_connections_its_tools_and_all_its_proofs(house: House) -> None:
    house.node()
    by_key, by_certificate = house.agent(), house.caller()
    certified = Certified(by_key)
    other = house.agent("other-bot")
    show(by_certificate, certified.pem, certified.key)
    by_certificate.open()
    running, theirs = by_certificate.start("long"), other.start("theirs")
    done = powers.revoke(house.workspace, house.persons["cleo"], "refund-bot", "its key lay in the open")
    assert done.confirmed
    ended = running.result(10)
    assert ended["result"]["state"] == "interrupted_confirmed"
    for caller in (by_key, by_certificate):
        with pytest.raises(Refused, match="has not proved"):
            caller.write("after")
    with pytest.raises(Refused):
        house.caller()
    with pytest.raises(Refused):
        show(connected(house), certified.pem, certified.key)
    with pytest.raises(Refused):
        Certified(by_key)
    assert [line["customer"] for line in house.began()] == ["long", "theirs"]
    assert not theirs.done()
    keyed = house.entries("agent.key", "refund-bot")
    assert [entry["body"]["status"] for entry in keyed] == ["active", "revoked"]
    assert house.suspend("other-bot").confirmed
    theirs.result(10)
    house.end(house.nodes[-1])
    refused = {entry["body"]["reason"]: entry["body"]["count"] for entry in house.entries("refusals")}
    assert refused["no certificate that holds"] == 1
    assert refused["no proof for agent"] == 1
    house.hold_true()
    house.verify()


def test_a_key_that_was_replaced_takes_its_certificates_along_and_never_comes_back(house: House) -> None:
    node = house.node()
    old = house.agent_keys["refund-bot"]
    caller = house.agent()
    certified = Certified(caller)
    new = keys.generate()
    hand = house.hand("anna")

    def rekey(public: bytes, by: powers.Hand = hand) -> Any:
        key = base64.b64encode(public).decode()
        return by.give("agent.rekey", o.AgentRekey(agent=BOT, key=key))

    with pytest.raises(Refused, match="operator"):
        rekey(new.public, house.hand("bert"))
    rekey(new.public)
    with pytest.raises(Refused, match="has not proved"):
        caller.write("after")
    with pytest.raises(Refused):
        house.caller(key=old)
    with pytest.raises(Refused, match="void"):
        show(connected(house), certified.pem, certified.key)
    house.caller(key=new).open().write("c1")
    for used in (new.public, house.agent_keys["other-bot"].public, house.persons["anna"].key.public):
        with pytest.raises(Refused, match="in use"):
            rekey(used)
    assert powers.revoke(house.workspace, house.persons["bert"], "refund-bot", "lost").confirmed
    with pytest.raises(Refused, match="in use"):
        rekey(new.public)
    house.end(node)
    house.node()  # what was void is void after a start, too
    for key in (old, new):
        with pytest.raises(Refused):
            house.caller(key=key)
    with pytest.raises(Refused):
        show(connected(house), certified.pem, certified.key)
    newest = keys.generate()
    house.hand("anna").give(
        "agent.rekey", o.AgentRekey(agent=BOT, key=base64.b64encode(newest.public).decode())
    )  # fmt: skip
    assert house.caller(key=newest).open().write("c2")["verdict"]["verdict"] == "ALLOW"
    house.hold_true()
    house.end(house.nodes[-1])
    house.verify()


def test_a_revocation_left_while_no_node_answered_comes_before_anything_else(house: House) -> None:
    done = powers.revoke(house.workspace, house.persons["bert"], "refund-bot", "stolen")
    assert not done.confirmed
    house.node()
    with pytest.raises(Refused):
        house.caller()
    house.caller("other-bot")
    order = house.entries("order")[-1]["body"]
    assert (order["order"], order["source"]) == ("agent.revoke", "orders")


def test_a_lost_authority_takes_along_what_it_made_out(house: House) -> None:
    house.node()
    certified = Certified(house.caller())
    path = house.workspace.keys / issuer.FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    house.end(house.nodes[-1])
    path.unlink()
    house.node()
    with pytest.raises(Refused, match="does not chain"):
        show(connected(house), certified.pem, certified.key)
    again = Certified(house.caller())
    assert show(connected(house), again.pem, again.key)["proved"] == BOT
    told = [entry["body"]["why"] for entry in house.entries("identity.issuer")]
    assert told == ["the first certificate was asked for", "its key was lost"]
    house.end(house.nodes[-1])
    house.verify()
    path.chmod(0o644)
    from failwell.node.service import Node

    with pytest.raises(InputError, match="0600"):
        Node(house.workspace)


def test_nothing_waits_its_way_past_a_revocation(house: House) -> None:
    """Attack: a flood of actions under way while the key is taken: what starts, starts before, and is stopped."""
    house.node()
    caller = house.agent()
    answers = [caller.ask({"customer": f"c{number}", "millis": 60_000}) for number in range(6)]
    await_true(house.began)
    assert powers.revoke(house.workspace, house.persons["bert"], "refund-bot", "stolen").confirmed
    for answer in answers:
        try:
            state = answer.result(20)["result"]["state"]
        except FailwellError:
            continue
        assert state in ("interrupted_confirmed", "blocked"), state
    began = len(house.began())
    await_true(lambda: not house.alive())
    assert len(house.began()) == began
    house.hold_true()
    house.end(house.nodes[-1])
    house.verify()


def test_a_caller_that_hangs_up_and_another_greeting_prove_nothing(lived: House) -> None:
    wire = Wire(lived.workspace.socket)
    hello(wire, "agent", BOT, lived.agent_keys["refund-bot"])
    wire.close()
    assert not acts(connected(lived))
