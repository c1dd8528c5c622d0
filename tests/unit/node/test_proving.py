"""Identities of a connection alone: until when they hold, who takes them away, and that nothing starts past that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from failwell.core.errors import InputError, Refused
from failwell.node import settings
from failwell.node.fence import Fence
from failwell.node.foreign import MAX_SHOWN, Shown, start_us
from failwell.node.identities import Held, Identities
from failwell.node.trust import SvidTrust, TokenTrust

AGENT, OTHER = "spiffe://shop.example/agent/a", "spiffe://shop.example/agent/b"
START_US, FOR_EVER = 1_795_000_000_000_000, 2**62


class Clocks:
    def __init__(self) -> None:
        self.wall, self.mono = START_US, 5_000_000

    def identities(self) -> Identities:
        return Identities(lambda: self.wall, lambda: self.mono)

    def skip(self, us: int, *, wall_us: int | None = None) -> None:
        self.mono += us
        self.wall += us if wall_us is None else wall_us


@pytest.mark.requirement("R3.3")
def test_an_identity_lapses_with_its_certificate_and_only_then() -> None:
    clocks = Clocks()
    held = clocks.identities()
    held.add(AGENT, Held("certificate", clocks.wall + 60_000_000, clocks.mono + 60_000_000))
    clocks.skip(59_999_999)
    assert AGENT in held
    clocks.skip(1)
    assert AGENT not in held
    assert not held


def test_a_clock_that_is_set_back_makes_no_identity_last_longer() -> None:
    clocks = Clocks()
    held = clocks.identities()
    held.add(AGENT, Held("token", clocks.wall + 60_000_000, clocks.mono + 60_000_000))
    clocks.skip(60_000_000, wall_us=-3_600_000_000)
    assert AGENT not in held
    held.add(AGENT, Held("token", clocks.wall + 60_000_000, clocks.mono + 60_000_000))
    clocks.skip(0, wall_us=60_000_000)
    assert AGENT not in held


def test_of_two_proofs_the_longer_one_counts_and_losing_takes_both() -> None:
    clocks = Clocks()
    held = clocks.identities()
    held.add(AGENT, Held("key", FOR_EVER, FOR_EVER))
    held.add(AGENT, Held("certificate", clocks.wall + 1, clocks.mono + 1))
    held.add(OTHER, Held("certificate", clocks.wall + 1, clocks.mono + 1))
    clocks.skip(10)
    assert AGENT in held
    assert OTHER not in held
    assert held.way(AGENT) == "key"
    held.lose(AGENT)
    assert AGENT not in held
    assert held.way(AGENT) == ""


def test_who_vouched_and_is_trusted_no_more_vouches_on_no_open_connection() -> None:
    clocks, trusted = Clocks(), [True]
    held = clocks.identities()
    held.add(AGENT, Held("svid", clocks.wall + 60_000_000, clocks.mono + 60_000_000, lambda: trusted[0]))
    assert AGENT in held
    trusted[0] = False
    assert AGENT not in held
    assert not held
    trusted[0] = True
    assert AGENT not in held, "it is proved anew"


# ---- the fence -----------------------------------------------------------------------------------------------------


def fence() -> Fence:
    made = Fence(lambda: False)
    for agent in (AGENT, OTHER):
        made.set(agent, "ACTIVE", 1)
    return made


def test_nothing_starts_for_an_agent_without_a_key_nor_what_it_handed_over() -> None:
    made = fence()
    early, handed = made.grant(10, AGENT, 1), made.grant(11, OTHER, 1, ((AGENT, 1),))
    running = made.start(made.grant(12, OTHER, 1, ((AGENT, 1),)), "supervised")
    free = made.grant(13, OTHER, 1)
    made.take_key(AGENT)
    assert set(made.acting(AGENT)) == {running.action, early.action, handed.action}
    for permit in (early, handed):
        with pytest.raises(Refused, match="not in force") as refused:
            made.start(permit, "supervised")
        assert refused.value.code == "fenced"
    assert made.start(free, "supervised").agent == OTHER
    made.give_key(AGENT)
    assert made.start(made.grant(14, AGENT, 1), "supervised").action == 14


def test_a_permit_given_before_the_key_was_replaced_starts_nothing_after_it() -> None:
    made = fence()
    early = made.grant(10, AGENT, 1)
    made.take_key(AGENT)
    assert made.interrupt(made.acting(AGENT), "key").unstarted == (10,)  # to be blocked
    made.give_key(AGENT)
    with pytest.raises(Refused, match="no unused permit"):
        made.start(early, "supervised")


# ---- tokens, once --------------------------------------------------------------------------------------------------


def test_a_token_is_taken_once_until_it_expires() -> None:
    shown = Shown()
    shown.take(("digest", "jti"), 100, 0)
    for marks in (("digest", "other"), ("other", "jti")):
        with pytest.raises(Refused, match="before"):
            shown.take(marks, 100, 99)
    shown.take(("digest", "jti"), 200, 100)  # it would be refused as expired by then


def test_a_provider_that_makes_tokens_without_end_fills_no_memory() -> None:
    shown = Shown()
    for number in range(MAX_SHOWN):
        shown.take((str(number),), 100, 0)
    with pytest.raises(Refused, match="too many"):
        shown.take(("one more",), 100, 0)
    shown.take(("later",), 300, 200)


def test_tokens_of_before_the_start_are_nobodys_to_remember() -> None:
    assert start_us(1_000_001) == 2_000_000
    assert start_us(1_000_000) == 2_000_000


# ---- settings ------------------------------------------------------------------------------------------------------

TRUST = """
[identity]
certificate_minutes = 5
[trust.mesh]
kind = "x509-svid"
trust_domain = "shop.example"
bundle = "mesh.pem"
[trust.login]
kind = "oidc"
issuer = "https://login.example"
audience = "failwell"
jwks = "login.json"
agents = { "repo:shop/bots:ref" = "refund-bot" }
"""


def test_what_is_trusted_is_read_strictly_and_comes_back_from_the_record_as_it_was() -> None:
    read = settings.parse_settings(TRUST)
    assert isinstance(read.trust["mesh"], SvidTrust)
    assert isinstance(read.trust["login"], TokenTrust)
    assert settings.settings_from_text(settings.settings_text(read)) == read
    plain: dict[str, Any] = json.loads(settings.settings_text(settings.parse_settings("")))
    assert not {"identity", "trust"} & set(plain)  # an upgrade alone changes no settings in force


@pytest.mark.parametrize(
    "text",
    [
        "[identity]\ncertificate_minutes = 4",
        "[identity]\ncertificate_minutes = 1441",
        '[identity]\ncertificate_minutes = "60"',
        "[identity]\nminutes = 60",
        '[trust.x]\nkind = "saml"',
        '[trust.x]\nkind = "x509-svid"\ntrust_domain = "Shop.example"\nbundle = "b"',
        '[trust.x]\nkind = "x509-svid"\ntrust_domain = "shop.example/agent"\nbundle = "b"',
        '[trust.x]\nkind = "x509-svid"\ntrust_domain = "shop.example"',
        '[trust.x]\nkind = "oidc"\nissuer = "i"\naudience = "a"\njwks = "j"',
        '[trust.x]\nkind = "oidc"\nissuer = "i"\naudience = ["a"]\njwks = "j"\nagents = {}',
    ],
)
def test_settings_of_trust_that_are_not_whole_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        settings.parse_settings(text)
