"""The lock on the record: what comes with it, who may let go of it, and what waits until an authority was informed."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from failwell.core import canonical, kinds, orders
from failwell.core.errors import FailwellError, InputError, NotFound, Refused
from failwell.core.incidents.holding import matches
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.gate import credentials, floors, observing, registry
from failwell.identity import names, persons
from failwell.node import settings
from failwell.response import holds, stops
from failwell.response.said import Said
from tests.unit.gate.house import AGENT, DAY_US, FATAL, OTHER, RULES, House, contract_text, open_house

SETTINGS = """
[preserve.bot]
agent = "refund-bot"
directories = ["/srv/bot", "work"]
[preserve.other]
agent = "other-bot"
directories = ["/srv/other"]
[keepers]
"payments.*" = "quan"
"orders.read" = "rita"
"*" = "nobody-here"
"""
MAIL = '[mail]\nhost = "127.0.0.1"\nsender = "a@b.example"\n'
TIGHTER = RULES.replace("at_most: 6", "at_most: 5")
LOOSER = RULES.replace("at_most: 6", "at_most: 7")


def begin() -> House:
    """Under today's rules, with settings that say where agents work and who keeps what."""
    house = open_house()
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    in_force(house, SETTINGS)
    return house


def in_force(house: House, text: str) -> None:
    canon = settings.settings_text(settings.parse_settings(text))
    digest = hashlib.sha256(canon.encode()).hexdigest()
    house.write(Draft(body=kinds.Config(digest=digest, text=canon), actor="person:olga"))


@pytest.fixture
def house() -> House:
    return begin()


@pytest.fixture
def struck(house: House) -> House:
    """With one agent that a rule suspended while one of its actions ran: incident 1, hold 1."""
    run = house.run()
    house.ask(run)
    house.ask(run, FATAL)
    return house


def give(house: House, person: str, kind: str, details: orders.Details, said: Said = Said()) -> Any:  # noqa: B008
    return house.do(holds.JOBS[kind](house.sign(person, kind, details), persons.verify_order, said))


def place(house: House, person: str = "rita", agent: str | None = AGENT, incident: int | None = None) -> int:
    return int(give(house, person, "hold.place", orders.HoldPlace(agent=agent, incident=incident, reason="look")))


def propose(house: House, person: str = "olga", hold: int = 1) -> str:
    signed = house.sign(person, "hold.propose", orders.HoldPropose(hold=hold, reason="it is over"))
    house.do(holds.propose_lift(signed, persons.verify_order, Said()))
    return orders.order_digest(orders.parse_order(signed.order))


def lift(house: House, person: str, proposal: str, hold: int = 1) -> int:
    return int(give(house, person, "hold.lift", orders.HoldLift(hold=hold, proposal=proposal)))


def serious(house: House, incident: int = 1) -> int:
    return int(give(house, "rita", "incident.serious", orders.IncidentSerious(incident=incident, reason="harm")))


def inform(house: House, person: str = "olga", *, at_us: int | None = None, said: Said = Said(), **more: Any) -> int:  # noqa: B008
    details = orders.IncidentInform(
        incident=1, authority="the market surveillance authority",
        at=format_at(house.state.last_at_us if at_us is None else at_us), complete=False, words=more.get("words"),
    )  # fmt: skip
    return int(give(house, person, "incident.inform", details, said))


def over(house: House, incident: int = 1) -> None:
    """The incident was a false alarm, as two persons would have it."""
    row = house.state.incident[incident]
    proposed = kinds.IncidentProposed(
        incident=incident, what="false-alarm", value="-", person="rita", digest="ab" * 32, why="it was a test"
    )
    house.write(Draft(body=proposed, actor="person:rita", agent=row.agent or None))
    body = kinds.IncidentChanged(
        incident=incident, what="state", was=row.state, now="FALSE_ALARM", why="it was a test", proposal="ab" * 32
    )
    house.write(Draft(body=body, actor="person:piet", agent=row.agent or None))


def waits(match: str = "waits: incident 1 is serious") -> pytest.RaisesExc[Refused]:
    return pytest.raises(Refused, match=match)


# ---- what comes with a hold --------------------------------------------------------------------------------------


@pytest.mark.requirement("R9.11")
def test_the_hold_of_a_suspension_tells_in_its_own_commit_how_the_agent_stood(struck: House) -> None:
    placed, told = (next(e for e in struck.entries() if isinstance(e.body, kind))
                    for kind in (kinds.HoldPlaced, kinds.HoldDescribed))  # fmt: skip
    assert placed.at == told.at
    assert [ref.seq for ref in told.refs] == [placed.seq]
    agent = struck.agent()
    assert (told.body.authority, told.body.epoch, told.body.contract) == ("SUSPENDED", agent.epoch, agent.contract)
    assert told.body.posture == agent.posture
    assert told.body.configuration == struck.state.configuration
    assert told.body.running == struck.state.running(AGENT)
    assert len(told.body.running) == 1
    assert told.body.directories == ("/srv/bot", "work")
    assert told.body.more == 0
    assert len(told.body.runs) == 1


def test_a_hold_of_a_busy_agent_names_so_many_and_counts_the_rest(house: House, monkeypatch: Any) -> None:
    monkeypatch.setattr("failwell.core.incidents.holding.NAMED", 2)
    for _ in range(5):
        house.ask(house.run())
    place(house)
    (told,) = house.bodies(kinds.HoldDescribed)
    assert (len(told.running), len(told.runs), told.more) == (2, 2, 6)


def test_whoever_keeps_a_tools_records_is_asked_with_what_and_from_when_on(struck: House) -> None:
    asked = struck.bodies(kinds.PreservationAsked)
    assert [(each.person, each.tools) for each in asked] == [("quan", ("payments.refund",)), ("rita", ("orders.read",))]
    assert {each.first for each in asked} == {struck.state.hold[1].first}
    pages = [page for page in struck.bodies(kinds.PageQueued) if getattr(page, "about", "") == "preserve"]
    assert [page.person for page in pages] == ["quan", "rita"]
    assert "keep your own records of payments.refund from entry" in pages[0].why
    assert len({page.page for page in struck.bodies(kinds.PageQueued)}) == len(struck.bodies(kinds.PageQueued))


@pytest.mark.requirement("R10.9")
def test_a_page_to_a_keeper_that_arrives_is_nobody_told_who_answers_for_the_agent(struck: House) -> None:
    """Attack: the release is ready because some administrator's mail was taken, and the owner knows nothing."""
    number = next(n for n, row in struck.state.page.items() if row.about == "preserve")
    struck.accept_page(number)
    assert "NOTIFIED" not in struck.state.incident[1].marks
    struck.accept_page(next(n for n, row in struck.state.page.items() if row.about == ""))
    assert "NOTIFIED" in struck.state.incident[1].marks


def test_a_ledger_of_before_these_rules_says_no_more_with_a_hold_than_it_did() -> None:
    house = open_house()
    in_force(house, SETTINGS)
    house.ask(house.run(), FATAL)
    assert house.bodies(kinds.HoldPlaced)
    assert not house.bodies(kinds.HoldDescribed)
    assert not house.bodies(kinds.PreservationAsked)


@pytest.mark.parametrize(
    ("pattern", "tool", "same"),
    [("payments.*", "payments.refund", True), ("payments.*", "paymentsX", False), ("*", "a", True), ("a", "a", True),
     ("a", "ab", False), ("*.read", "orders.read", True), ("a.b", "axb", False)],
)  # fmt: skip
def test_a_keepers_pattern_names_tools_by_letters_and_stars_alone(pattern: str, tool: str, same: bool) -> None:
    assert matches(pattern, tool) is same


# ---- placing -----------------------------------------------------------------------------------------------------


def test_anybody_who_is_enrolled_locks_an_agents_record_or_all_of_it(house: House) -> None:
    place(house, "rita")
    place(house, "quan", None)
    assert [(row.agent, row.first) for row in house.state.hold.values()] == [(AGENT, 0), ("", 0)]
    everything = house.bodies(kinds.HoldDescribed)[1]
    assert (everything.authority, everything.contract) == ("", None)
    assert everything.directories == ("/srv/other", "/srv/bot", "work")


def test_a_hold_is_refused_on_an_agent_or_incident_that_is_not_there(house: House) -> None:
    with pytest.raises(NotFound, match="no agent"):
        place(house, agent=OTHER)
    with pytest.raises(NotFound, match="no incident 7"):
        place(house, incident=7)


# ---- lifting: two persons, once it is over -----------------------------------------------------------------------


def test_two_persons_lift_a_hold_and_then_it_is_gone(house: House) -> None:
    place(house)
    lifted = lift(house, "piet", propose(house))
    assert house.state.hold[1].lifted == lifted
    with pytest.raises(Refused, match="was lifted already"):
        propose(house)


@pytest.mark.parametrize(
    ("who", "match"),
    [("olga", "role approver"), ("rita", "rita proposed to lift this hold")],
)
@pytest.mark.requirement("R9.18")
def test_no_single_person_lifts_a_hold(house: House, who: str, match: str) -> None:
    place(house)
    with pytest.raises(Refused, match=match):
        lift(house, who, propose(house, "rita" if who == "rita" else "olga"))


def test_one_key_under_two_names_lifts_no_hold(house: House) -> None:
    house.signers["sara"] = persons.Signer("sara", house.signers["piet"].key)
    house.enrol("sara", "approver", key_of="piet")
    place(house)
    with pytest.raises(Refused, match="another person lifts it"):
        lift(house, "piet", propose(house, "sara"))


def test_a_proposal_of_another_hold_or_of_before_or_of_somebody_gone_lifts_nothing(house: House) -> None:
    place(house)
    place(house)
    first, other = propose(house, hold=1), propose(house, hold=2)
    with pytest.raises(Refused, match="not the lift that stands proposed"):
        lift(house, "piet", other, hold=1)
    newer = propose(house, "quan", hold=1)
    with pytest.raises(Refused, match="not the lift that stands proposed"):
        lift(house, "piet", first, hold=1)
    house.reached("rita")
    left = kinds.PersonLeft(person="quan", successor="rita", why="gone")
    house.write(Draft(body=left, actor="person:olga"))
    with pytest.raises(Refused, match="quan, who proposed this, has left"):
        lift(house, "piet", newer, hold=1)


@pytest.mark.requirement("R9.19")
def test_what_locks_the_evidence_of_an_incident_stays_until_that_is_over(struck: House) -> None:
    with pytest.raises(Refused, match="which is not over: what it locks is its evidence"):
        propose(struck)
    over(struck)
    lift(struck, "piet", propose(struck))


def test_a_hold_does_not_go_by_merging_its_incident_into_another(struck: House) -> None:
    """Attack: the incident is merged away, and its hold is nobody's."""
    opened = struck.state.incident[1]
    second = kinds.IncidentOpened(
        by="person:rita", incident=2, kind="real", severity="major", title="other", signal=opened.opened,
        onset_first=1, onset_last=1, response=("record",),
    )  # fmt: skip
    struck.write(Draft(body=second, actor="person:rita"))
    merged = kinds.IncidentMerged(incident=1, into=2, person="rita", why="the same")
    struck.write(Draft(body=merged, actor="person:rita", agent=AGENT))
    with pytest.raises(Refused, match="not over"):
        propose(struck)


def test_what_was_signed_over_an_incident_that_was_over_lifts_nothing_once_it_is_open_again(struck: House) -> None:
    over(struck)
    proposal = propose(struck)
    signed = struck.sign("piet", "hold.lift", orders.HoldLift(hold=1, proposal=proposal))
    again = kinds.IncidentChanged(
        incident=1, what="state", was="FALSE_ALARM", now="REOPENED", why="it was none", proposal=None
    )
    struck.write(Draft(body=again, actor="person:rita", agent=AGENT))
    with pytest.raises(Refused):
        struck.do(holds.lift(signed, persons.verify_order, Said()))
    assert struck.state.hold[1].lifted is None


# ---- serious, and informed ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R9.12")
def test_a_serious_incident_is_under_hold_whatever_rule_opened_it(house: House) -> None:
    opened = kinds.IncidentOpened(
        by="person:rita", incident=1, kind="external", severity="major", title="a customer called", signal=3,
        onset_first=3, onset_last=3, response=("record",),
    )  # fmt: skip
    house.write(Draft(body=opened, actor="person:rita", agent=AGENT))
    assert not house.state.hold
    serious(house)
    assert (house.state.hold[1].agent, house.state.hold[1].incident) == (AGENT, 1)
    assert house.bodies(kinds.HoldDescribed)
    with pytest.raises(Refused, match="is marked as serious already"):
        serious(house)


@pytest.mark.requirement("R9.15")
def test_who_informed_an_authority_is_the_owner_or_an_operator_and_not_before_there_was_anything_to_say(
    struck: House,
) -> None:
    with pytest.raises(Refused, match="is not marked as serious"):
        inform(struck)
    serious(struck)
    with pytest.raises(Refused, match="role operator"):
        inform(struck, "quan")
    for at_us in (struck.state.incident[1].opened_us - 1, struck.state.last_at_us + DAY_US):
        with pytest.raises(Refused, match="before the incident was detected, or still to come"):
            inform(struck, at_us=at_us)
    informed = inform(struck)
    assert struck.state.incident[1].informed == (informed,)


def test_what_was_told_to_an_authority_lies_in_the_blob_and_is_the_text_that_was_signed(struck: House) -> None:
    serious(struck)
    said = Said("Anna Example was harmed", "ab" * 16)
    words = hashlib.sha256(b"\xab" * 16 + b"Anna Example was harmed").hexdigest()
    with pytest.raises(InputError, match="not the one that this order is bound to"):
        inform(struck, said=Said("Nobody was harmed", "ab" * 16), words=words)
    entry = inform(struck, said=said, words=words)
    assert struck.secret(entry)["text"] == "Anna Example was harmed"
    row = struck.storage.entry(entry)
    assert row is not None
    assert b"Anna" not in row.data


# ---- the lock before the fix -------------------------------------------------------------------------------------


def adopt(house: House, rules: str, version: int = 2) -> None:
    house.adopt(contract_text(rules, version=version))


def apply(house: House, text: str) -> int:
    canon = settings.settings_text(settings.parse_settings(text))
    digest = hashlib.sha256(canon.encode()).hexdigest()
    details = orders.ConfigApply(settings=digest, previous=house.state.configuration)
    signed = house.sign("olga", "config.apply", details)
    return house.do(registry.apply_config(signed, canon, digest, persons.verify_order))


@pytest.mark.requirement("R9.13")
@pytest.mark.requirement("R9.14")
def test_a_looser_contract_waits_until_an_authority_was_informed_and_a_tighter_one_does_not(struck: House) -> None:
    serious(struck)
    adopt(struck, TIGHTER)
    with waits("this contract .*per-hour.* waits: incident 1 is serious"):
        adopt(struck, RULES, version=3)
    with waits():  # neither word is known to be true of it
        adopt(struck, TIGHTER.replace("context.args.amount == 300", "context.args.amount != 300"), version=3)
    inform(struck)
    adopt(struck, LOOSER, version=3)


def test_another_agents_contract_does_not_wait_unless_nobody_knows_whose_incident_it_is(struck: House) -> None:
    struck.register(OTHER)
    text = contract_text(agent=OTHER)
    serious(struck)
    struck.adopt(text)
    nobodys = kinds.IncidentOpened(
        by="person:rita", incident=2, kind="external", severity="critical", title="somebody's", signal=3,
        onset_first=3, onset_last=3, response=("record",),
    )  # fmt: skip
    struck.write(Draft(body=nobodys, actor="person:rita"))
    serious(struck, 2)
    with waits("incident 2 is serious"):
        struck.adopt(contract_text(LOOSER, agent=OTHER, version=2))


def test_release_waits_until_an_authority_was_informed(struck: House) -> None:
    serious(struck)
    with waits("this release waits|release"):
        struck.release()
    inform(struck)
    struck.release()
    assert struck.agent().authority == "PROBATION"


@pytest.mark.requirement("R9.16")
def test_settings_that_loosen_wait_and_those_that_notice_or_keep_more_do_not(struck: House) -> None:
    serious(struck)
    apply(struck, SETTINGS + '"orders.*" = "piet"\n' + MAIL)
    with waits("these settings change .*\\[mail\\]"):
        apply(struck, SETTINGS + '"orders.*" = "piet"\n')
    with waits("\\[preserve\\]"):
        apply(struck, SETTINGS.replace('"work"', '"play"') + '"orders.*" = "piet"\n' + MAIL)


def test_lifting_a_stop_a_key_and_an_observation_wait_too(struck: House) -> None:
    serious(struck)
    signed = struck.sign("rita", "stop", orders.StopScope(scope="all", reason="fire"), shown="0" * 64)
    struck.do(stops.stop_scope(signed, persons.verify_order, source="node"))
    for action in struck.state.stop["all"].waiting:
        struck.stop(action)
    lifting = orders.LiftPropose(scope="all", epoch=1, conditions="it is out", evidence=(3,))
    proposed = struck.sign("olga", "stop.propose", lifting)
    struck.do(stops.propose_lift(proposed, persons.verify_order))
    digest = orders.order_digest(orders.parse_order(proposed.order))
    agreed = struck.sign("piet", "stop.lift", orders.LiftApprove(scope="all", epoch=1, proposal=digest))
    with waits("lifting this stop"):
        struck.do(stops.approve_lift(agreed, persons.verify_order))
    revoked = struck.sign("rita", "agent.revoke", orders.AgentRevoke(agent=AGENT, reason="x"), shown="0" * 64)
    struck.do(credentials.revoke_key(revoked, persons.verify_order, source="node"))
    rekeyed = struck.sign("olga", "agent.rekey", orders.AgentRekey(agent=AGENT, key="B" * 42 + "A="))
    with waits("a new key in the place of one that was revoked"):
        struck.do(credentials.rekey(rekeyed, persons.verify_order))


def test_a_looser_floor_waits_and_a_tighter_one_does_not(struck: House) -> None:
    serious(struck)

    def put(version: int, at_most: int) -> None:
        from failwell.core import contract as contracts

        text = (
            f"floor: all-of-us\nversion: {version}\nscope: organisation\npurpose: Bound everybody.\n"
            f"limits:\n  - {{id: day, count: payments.refund, at_most: {at_most}, per: 1d, then: deny}}\n"
        )
        floor = contracts.load_floor(text, name="floor.yaml")
        named: dict[str, Any] = {"floor": floor.floor, "version": version, "digest": contracts.floor_digest(floor)}
        first = struck.sign("olga", "floor.sign", orders.FloorSign(**named))
        cited = orders.order_digest(orders.parse_order(first.order))
        second = struck.sign("piet", "floor.adopt", orders.FloorAdopt(**named, signed=cited))
        document = contracts.floor_to_canonical(floor)
        struck.do(floors.adopt_floor(first, second, document, persons.verify_order, names.check_distinct))

    put(1, 50)
    with waits("this floor"):
        put(2, 60)
    put(2, 40)


def test_what_stops_or_restricts_never_waits_for_an_authority(struck: House) -> None:
    serious(struck)
    struck.register(OTHER)
    struck.adopt(contract_text(agent=OTHER))
    struck.suspend("rita", OTHER)
    assert struck.agent(OTHER).authority == "SUSPENDED"
    place(struck, "quan")


def test_a_lock_ends_with_its_incident_and_not_by_merging_it_away(struck: House) -> None:
    serious(struck)
    with waits():
        adopt(struck, LOOSER)
    over(struck)
    adopt(struck, LOOSER)


def test_an_agent_is_not_let_act_ungoverned_while_an_authority_has_to_hear_of_it(house: House) -> None:
    house.register(OTHER)
    opened = kinds.IncidentOpened(
        by="person:rita", incident=1, kind="external", severity="major", title="a customer called", signal=3,
        onset_first=3, onset_last=3, response=("record",),
    )  # fmt: skip
    house.write(Draft(body=opened, actor="person:rita", agent=OTHER))
    serious(house)
    until = format_at(house.state.last_at_us + DAY_US)
    signed = house.sign("olga", "agent.observe", orders.AgentObserve(agent=OTHER, until=until, reason="try it"))
    with waits("act ungoverned"):
        house.do(observing.observe(signed, persons.verify_order))


@pytest.mark.requirement("R9.5")
def test_no_contract_is_adopted_for_a_suspended_agent_whose_record_is_not_held(struck: House) -> None:
    row = struck.state.incident[1]
    marks = {name: seq for name, seq in row.marks.items() if name != "HELD"}
    struck.state.incident[1] = msgspec.structs.replace(row, marks=marks)
    with pytest.raises(Refused, match="refund-bot is suspended for incident 1, and its record is not held"):
        adopt(struck, TIGHTER)
    place(struck, incident=1)
    adopt(struck, TIGHTER)


def test_a_contract_that_cannot_be_compared_is_taken_for_looser(struck: House) -> None:
    from failwell.core.incidents.loosening import contract_loosens, floor_loosens, settings_loosen

    assert contract_loosens(struck.state, AGENT, canonical.encode({"contract": "x"}).decode()) is not None
    assert floor_loosens(struck.state, "{}") is not None
    assert settings_loosen("{", "{}") is not None
    with pytest.raises(FailwellError):
        struck.adopt("contract: x\n")
