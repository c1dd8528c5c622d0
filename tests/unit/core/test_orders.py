"""The order: one spelling, a closed table of powers, and what is refused before any signature is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failwell.core import canonical, orders
from failwell.core.errors import InputError, Refused
from failwell.core.instants import format_at, parse_at
from failwell.core.orders import Order, check_order, check_pair, order_bytes, order_digest, parse_order

AT = "2026-11-23T05:00:00.000000Z"
AT_US = parse_at(AT)
HEX = "ab" * 32
KEY = "A" * 43 + "="
SIGNATURE = "A" * 86 + "=="

DETAILS: dict[str, orders.Details] = {
    "init": orders.Init(key=KEY, roles=("owner",), contact=None, settings=HEX),
    "person.enrol": orders.PersonEnrol(person="ben", key=KEY, proof=SIGNATURE, roles=("owner",), contact=HEX),
    "contact.ask": orders.ContactAsk(person="ben", contact=HEX),
    "contact.verify": orders.ContactVerify(person="ben", contact=HEX, how="vouched"),
    "person.leave": orders.PersonLeave(person="ann", successor="ben", reason="retires"),
    "host.register": orders.HostRegister(host="web-shop", key=KEY, agents=("refund-bot",)),
    "agent.register": orders.AgentRegister(agent="spiffe://shop.example/agent/refund-bot", key=KEY, owner="ann"),
    "agent.assign": orders.AgentAssign(agent="refund-bot", owner="ben"),
    "agent.group": orders.AgentGroup(agent="refund-bot", group="payments"),
    "agent.rekey": orders.AgentRekey(agent="refund-bot", key=KEY),
    "agent.revoke": orders.AgentRevoke(agent="refund-bot", reason="the key was copied"),
    "agent.observe": orders.AgentObserve(agent="refund-bot", until=AT, reason="a look first"),
    "agent.govern": orders.AgentGovern(agent="refund-bot"),
    "contract.sign": orders.ContractSign(contract="refund-bot", version=7, digest=HEX),
    "contract.adopt": orders.ContractAdopt(contract="refund-bot", version=7, digest=HEX, signed=HEX),
    "floor.sign": orders.FloorSign(floor="house-rules", version=2, digest=HEX),
    "floor.adopt": orders.FloorAdopt(floor="house-rules", version=2, digest=HEX, signed=HEX),
    "ticket.approve": orders.TicketApprove(ticket=40, arguments=HEX, reason="the customer called"),
    "ticket.deny": orders.TicketDeny(ticket=40, reason="paid already"),
    "ledger.rotate": orders.LedgerRotate(key=f"failwell/0a1b+01234567+{'A' * 44}", reason="yearly"),
    "ledger.continue": orders.LedgerContinue(size=90, root=HEX, lost_size=None, lost_root=None, reason="disk lost"),
    "config.apply": orders.ConfigApply(settings=HEX, previous=HEX),
    "agent.suspend": orders.AgentSuspend(agent="refund-bot", reason="repeats notices, é漢"),
    "incident.acknowledge": orders.IncidentAcknowledge(incident=1),
    "release.propose": orders.ReleasePropose(
        incident=1,
        agent="refund-bot",
        authority="PROBATION",
        conditions="then: deny adopted",
        evidence=(12, 40),
    ),
    "stop": orders.StopScope(scope="group:refunds", reason="three of them at once"),
    "stop.propose": orders.LiftPropose(
        scope="tool:payments.refund", epoch=1, conditions="the bank is back", evidence=(1,)
    ),
    "stop.lift": orders.LiftApprove(scope="all", epoch=2, proposal=HEX),
    "action.compensate": orders.ActionCompensate(
        action=12, tool="payments.refund", step="payments.cancel", contract=HEX, reason="it was the wrong customer"
    ),
    "release.approve": orders.ReleaseApprove(incident=1, agent="refund-bot", proposal=HEX),
    "release.break": orders.ReleaseBreak(incident=1, agent="refund-bot", reason="patients wait", minutes=60),
    "release.review": orders.ReleaseReview(incident=1, broken=99, upheld=False, words=HEX),
    "incident.report": orders.IncidentReport(
        report="external",
        agent=None,
        severity="major",
        title="paid twice",
        words=HEX,
        aware=None,
        first=None,
        last=None,
    ),
    "incident.note": orders.IncidentNote(incident=1, sort="factor", words=HEX, cites=(1, 2)),
    "incident.task": orders.IncidentGiveTask(incident=1, person="ann", due=None, words=HEX),
    "incident.finish": orders.IncidentEndTask(incident=1, task=1, state="done", words=None),
    "incident.escalate": orders.IncidentEscalate(incident=1, reason="I cannot see to it"),
    "team.cover": orders.TeamCover(
        team="payments",
        person="ben",
        instead_of=None,
        since="2026-11-23T09:00:00.000000Z",
        until="2026-11-24T09:00:00.000000Z",
    ),
    "team.uncover": orders.TeamUncover(cover=7),
    "channel.ask": orders.ChannelAsk(channel="pager", person="ben"),
    "channel.confirm": orders.ChannelConfirm(channel="email", person="ben"),
    "digest.receive": orders.DigestReceive(digest=1),
    "clock.start": orders.ClockStart(
        incident=1,
        clock="gdpr-33",
        data="0" * 64,
        aware="2026-11-23T09:00:00.000000Z",
        deadlines=(orders.DueBy(deadline="authority", at="2026-11-26T09:00:00.000000Z", incomplete=True),),
    ),
    "clock.meet": orders.ClockMeet(
        incident=1,
        clock="gdpr-33",
        deadline="authority",
        told="the supervisory authority",
        at="2026-11-23T09:00:00.000000Z",
        complete=False,
        words=None,
    ),
    "clock.end": orders.ClockEnd(incident=1, clock="gdpr-33", reason="no personal data was touched"),
    "incident.hand": orders.IncidentHand(incident=1, to="ben", words=None),
    "incident.raise": orders.IncidentRaise(incident=1, severity="critical", reason="more customers than thought"),
    "incident.serious": orders.IncidentSerious(incident=1, reason="a person was harmed"),
    "incident.inform": orders.IncidentInform(
        incident=1, authority="market surveillance", at="2026-11-23T05:00:00.000000Z", complete=False, words=None
    ),
    "incident.merge": orders.IncidentMerge(incident=2, into=1, reason="the same template"),
    "incident.reopen": orders.IncidentReopen(incident=1, reason="it goes on"),
    "incident.resolve": orders.IncidentResolve(incident=1, reason="the template is mended"),
    "incident.propose": orders.IncidentPropose(incident=1, what="severity", value="minor", reason="nobody was told"),
    "incident.agree": orders.IncidentAgree(incident=1, proposal=HEX),
    "incident.claim": orders.IncidentClaim(incident=1, change="contract", words=HEX),
    "incident.close": orders.IncidentClose(incident=1),
    "customer.tell": orders.CustomerTell(incident=1, customer="c-" + "0" * 32, shown=7, how="mail", words=HEX),
    "customer.restore": orders.CustomerRestore(incident=1, customer="c-" + "0" * 32, shown=7, words=HEX),
    "work.end": orders.WorkEnd(incident=1, run=7, state="taken", words=None),
    "hold.place": orders.HoldPlace(agent=None, incident=None, reason="a court asked"),
    "hold.propose": orders.HoldPropose(hold=1, reason="the court has decided"),
    "hold.lift": orders.HoldLift(hold=1, proposal=HEX),
    "run.stop": orders.RunStop(run=7, reason="not what was asked"),
    "action.stop": orders.ActionStop(action=9, reason="not what was asked"),
    "node.stop": orders.NodeStop(reason="maintenance"),
}


def order(kind: str = "agent.suspend", **changes: Any) -> Order[Any]:
    fields: dict[str, Any] = {
        "order": kind,
        "origin": "failwell/5d41402abc4b2a76",
        "person": "ann",
        "nonce": "0" * 32,
        "at": AT,
        "shown": HEX,
        "details": DETAILS[kind],
    }
    return Order(**{**fields, **changes})


def never(_nonce: str) -> bool:
    return False


@pytest.mark.parametrize("kind", sorted(orders.POWERS))
def test_every_power_has_one_spelling_that_is_rfc_8785(kind: str) -> None:
    text = order_bytes(order(kind))
    assert parse_order(text) == order(kind)
    assert parse_order(text.decode()) == order(kind)
    assert canonical.encode(canonical.decode(text)) == text


def test_every_power_of_the_table_is_tried_here() -> None:
    assert set(DETAILS) == set(orders.POWERS)


@settings(max_examples=200)
@given(st.text(min_size=1, max_size=60))
def test_any_reason_that_is_accepted_is_spelled_as_rfc_8785_spells_it(reason: str) -> None:
    suspend = order(details=orders.AgentSuspend(agent="refund-bot", reason=reason))
    try:
        text = order_bytes(suspend)
    except InputError:
        return
    assert canonical.encode(canonical.decode(text)) == text


def test_restricting_powers_are_exactly_those_that_take_authority_away() -> None:
    assert {kind for kind, power in orders.POWERS.items() if power.restricts} == {
        "agent.govern",
        "agent.revoke",
        "agent.suspend",
        "node.stop",
        "person.leave",
        "stop",
        "run.stop",
        "action.stop",
        "hold.place",
        "incident.report",
        "incident.escalate",
        "incident.raise",
        "incident.serious",
        "incident.reopen",
        "ticket.deny",
    }


def test_two_persons_are_needed_to_release_and_to_adopt() -> None:
    two = {kind: power.follows for kind, power in orders.POWERS.items() if power.persons_needed == 2}
    assert two == {
        "release.approve": "release.propose",
        "stop.lift": "stop.propose",
        "hold.lift": "hold.propose",
        "incident.agree": "incident.propose",
        "contract.adopt": "contract.sign",
        "floor.adopt": "floor.sign",
    }


def test_the_table_of_powers_cannot_be_extended_at_run_time() -> None:
    with pytest.raises(TypeError):
        orders.POWERS["ledger.erase"] = orders.POWERS["node.stop"]  # type: ignore[index]


def test_an_order_of_an_unknown_kind_cannot_exist() -> None:
    with pytest.raises(ValueError, match="no order of kind"):
        order(order="ledger.erase")
    with pytest.raises(InputError, match="no order of kind"):
        parse_order(order_bytes(order()).replace(b"agent.suspend", b"ledger.erase"))


def test_an_order_cannot_carry_the_details_of_another_kind() -> None:
    with pytest.raises(ValueError, match="AgentSuspend and nothing else"):
        order(details=DETAILS["release.approve"])
    with pytest.raises(InputError):
        parse_order(order_bytes(order("release.approve")).replace(b"release.approve", b"agent.suspend"))


@pytest.mark.parametrize(
    "change",
    [
        {"person": "Ann"},
        {"person": "аnn"},  # noqa: RUF001  the first letter is Cyrillic: the attack
        {"person": "ann\n"},
        {"person": ""},
        {"nonce": "0" * 31},
        {"nonce": "0" * 32 + "\n"},
        {"nonce": "A" * 32},
        {"shown": "AB" * 32},
        {"origin": "a b"},
        {"details": orders.AgentSuspend(agent="refund-bot", reason="fine\u202egnihton")},
        {"details": orders.AgentSuspend(agent="refund-bot", reason="fine\r\nBcc: x")},
        {"details": orders.AgentSuspend(agent="refund-bot", reason="")},
        {"details": orders.AgentSuspend(agent="refund-bot", reason="\ud800")},
        {"details": orders.AgentSuspend(agent="refund-bоt", reason="x")},  # noqa: RUF001  Cyrillic o
        {"details": orders.AgentSuspend(agent="refund-bot", reason="x" * 1001)},
    ],
)
def test_a_malformed_order_is_never_spelled_so_never_signed(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        order_bytes(order(**change))


@pytest.mark.parametrize(
    "at", ["2026-02-30T05:00:00.000000Z", "2026-11-23T05:00:00Z", "2026-11-23 05:00:00.000000Z", "2026-W48-1"]
)
def test_a_time_that_is_none_is_refused(at: str) -> None:
    with pytest.raises(InputError):
        order_bytes(order(at=at))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"at"', b'{ "at"'),
        (b'"person":"ann"', b'"person":"ann","person":"ann"'),
        (b'"person":"ann"', b'"person":"\\u0061nn"'),
        (b'"person":"ann"', b'"person":"ann","quick":true'),
        (b'"reason":"', b'"reason":"x","reason":"'),
        (b',"shown":"' + HEX.encode() + b'"', b""),
        (b'"person":"ann"', b'"person":null'),
        (b'"ann"', b'"\xff"'),
    ],
)
def test_a_second_spelling_is_refused(old: bytes, new: bytes) -> None:
    text = order_bytes(order())
    assert old in text
    with pytest.raises(InputError):
        parse_order(text.replace(old, new))


def test_moved_keys_are_refused() -> None:
    text = order_bytes(order())
    moved = b'{"person":"ann",' + text[1:].replace(b'"person":"ann",', b"")
    assert canonical.parse(moved) == canonical.parse(text)
    with pytest.raises(InputError, match="canonically"):
        parse_order(moved)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '"x"', "[" * 100_000, "{" * 5000, "\ud800", "x" * 20_000])
def test_what_is_no_order_is_refused_without_harm(text: str) -> None:
    with pytest.raises(InputError):
        parse_order(text)


def test_a_signed_order_has_one_spelling_too() -> None:
    signed = orders.SignedOrder(order=order_bytes(order()).decode(), key="0" * 16, signature=SIGNATURE)
    data = orders.encode_signed(signed)
    assert orders.parse_signed(data) == signed
    assert canonical.encode(canonical.decode(data)) == data
    for bad in (data + b" ", data.replace(b'"key"', b'"kid"'), data.replace(b"==", b"="), data[:-1], b"[]"):
        with pytest.raises(InputError):
            orders.parse_signed(bad)


@settings(max_examples=300)
@given(st.integers(0, 2000), st.integers(0, 255))
def test_one_changed_byte_is_another_order_or_none(place: int, byte: int) -> None:
    text = bytearray(order_bytes(order()))
    place %= len(text)
    if text[place] == byte:
        return
    text[place] = byte
    try:
        changed = parse_order(bytes(text))
    except InputError:
        return
    assert changed != order()


# ---- where and when it is used ---------------------------------------------------------------------------


def test_an_order_for_another_ledger_is_refused() -> None:
    with pytest.raises(Refused, match="is for ledger"):
        check_order(order(), origin="failwell/0000", shown=HEX, now_us=AT_US, used=never)


@pytest.mark.parametrize("kind", ["agent.suspend", "release.approve"])
def test_a_nonce_that_was_used_is_refused(kind: str) -> None:
    used = {"0" * 32}
    one = order(kind)
    check_order(one, origin=one.origin, shown=HEX, now_us=AT_US, used=never)
    with pytest.raises(Refused, match="used before"):
        check_order(one, origin=one.origin, shown=HEX, now_us=AT_US, used=used.__contains__)


@pytest.mark.parametrize("shown", ["cd" * 32, None, ""])
def test_permission_given_over_another_sight_is_refused(shown: str | None) -> None:
    one = order("release.approve")
    with pytest.raises(Refused, match="something else"):
        check_order(one, origin=one.origin, shown=shown, now_us=AT_US, used=never)


@pytest.mark.parametrize("off_us", [orders.HOUR_US + 1, -orders.MAX_AHEAD_US - 1])
def test_a_permission_kept_for_later_or_dated_ahead_is_refused(off_us: int) -> None:
    one = order("release.approve")
    with pytest.raises(Refused, match="was signed at"):
        check_order(one, origin=one.origin, shown=HEX, now_us=AT_US + off_us, used=never)


def test_the_last_moment_of_a_permission_still_counts() -> None:
    one = order("release.approve")
    check_order(one, origin=one.origin, shown=HEX, now_us=AT_US + orders.HOUR_US, used=never)
    check_order(one, origin=one.origin, shown=HEX, now_us=AT_US - orders.MAX_AHEAD_US, used=never)


def test_a_wrong_clock_or_a_changed_sight_does_not_delay_a_stop() -> None:
    one = order("agent.suspend", at=format_at(AT_US - 400 * orders.MONTH_US))
    check_order(one, origin=one.origin, shown=None, now_us=AT_US, used=never)


# ---- two persons -----------------------------------------------------------------------------------------


def pair(**changes: Any) -> tuple[Order[Any], Order[Any]]:
    first = order("release.propose")
    details = msgspec.structs.replace(
        orders.ReleaseApprove(incident=1, agent="refund-bot", proposal=order_digest(first)), **changes
    )
    return first, order("release.approve", person="ben", nonce="1" * 32, details=details)


def test_two_persons_over_the_same_thing_are_a_pair() -> None:
    check_pair(*pair())
    first = order("contract.sign")
    adopt = orders.ContractAdopt(contract="refund-bot", version=7, digest=HEX, signed=order_digest(first))
    check_pair(first, order("contract.adopt", person="ben", details=adopt))


@pytest.mark.requirement("R23.1")
def test_one_person_cannot_be_two() -> None:
    first, second = pair()
    with pytest.raises(Refused, match="second person"):
        check_pair(first, msgspec.structs.replace(second, person=first.person))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proposal": "0" * 64}, "cites another"),
        ({"incident": 2}, "incident"),
        ({"agent": "other-bot"}, "agent"),
    ],
)
def test_approval_of_another_proposal_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        check_pair(*pair(**changes))


def test_a_pair_across_ledgers_is_refused() -> None:
    first, second = pair()
    with pytest.raises(Refused, match="cites another"):
        check_pair(first, msgspec.structs.replace(second, origin="failwell/0000"))


def test_an_order_that_follows_nothing_makes_no_pair() -> None:
    with pytest.raises(Refused, match="does not follow"):
        check_pair(order("release.propose"), order("agent.suspend", person="ben"))
    with pytest.raises(Refused, match="does not follow"):
        check_pair(order("contract.sign"), pair()[1])
