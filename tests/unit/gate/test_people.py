"""People: reached at their address or no owner, gone without delay, and what their agents do until the next owner."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError, NotFound, Refused
from failwell.core.records import Draft
from failwell.gate import people, registry, tickets
from failwell.identity import keys, names, persons
from failwell.ledger.vault import commitment
from failwell.response import releases
from tests.unit.gate.house import AGENT, ASK, FINE, HOUR_US, MINUTE_US, OTHER, RULES, House, contract_text

SALT, CODE_SALT, CODE = b"salt", b"salt of the code", "k7m2p9qx"


@pytest.fixture
def house() -> Iterator[House]:
    """olga (an operator) and rita are there from the beginning; piet and quan are enrolled with an address."""
    house = House()
    house.enrol("olga", "operator")
    house.enrol("rita", "approver", "operator")
    for person in ("piet", "quan"):
        enrol(house, person)
    yield house
    house.close()


def address(person: str) -> str:
    return commitment(SALT, f"{person}@shop.example".encode())


def enrol(house: House, person: str, email: str | None = "") -> None:
    contact = None if email is None else registry.Contact(email or f"{person}@shop.example", SALT)
    details = orders.PersonEnrol(
        person=person, key=base64.b64encode(house.signers[person].key.public).decode(),
        proof=persons.prove_enrolment(house.signers[person], house.state.origin), roles=("approver",),
        contact=None if contact is None else commitment(SALT, contact.email.encode()),
    )  # fmt: skip
    signed = house.sign("olga", "person.enrol", details)
    house.do(registry.enrol_person(signed, contact, persons.verify_order, persons.check_enrolment))


def ask(house: House, person: str, by: str | None = None, code: str = CODE) -> str:
    signed = house.sign(by or person, "contact.ask", orders.ContactAsk(person=person, contact=address(person)))
    return house.do(people.ask_contact(signed, code, CODE_SALT, persons.verify_order))


def give(house: House, person: str, code: str, by: str | None = None) -> Any:
    details = orders.ContactVerify(person=person, contact=address(person), how="code")
    signed = house.sign(by or person, "contact.verify", details)
    return house.do(people.verify_contact(signed, code, persons.verify_order))


def vouch(house: House, by: str, person: str) -> Any:
    details = orders.ContactVerify(person=person, contact=address(person), how="vouched")
    return house.do(people.verify_contact(house.sign(by, "contact.verify", details), None, persons.verify_order))


def register(house: House, owner: str, agent: str = AGENT, groups: tuple[str, ...] = ()) -> int:
    key = base64.b64encode(keys.from_seed(agent.encode()[-32:]).public).decode()
    details = orders.AgentRegister(agent=agent, key=key, owner=owner, groups=groups)
    signed = house.sign("olga", "agent.register", details)
    name = agent.rpartition("/")[2]
    return house.do(registry.register_agent(signed, name, persons.verify_order, names.check_distinct))


def assign(house: House, owner: str, by: str = "olga", agent: str = AGENT) -> int:
    signed = house.sign(by, "agent.assign", orders.AgentAssign(agent=agent, owner=owner))
    return house.do(people.assign_agent(signed, persons.verify_order))


def leave(house: House, person: str, successor: str, by: str = "rita", reason: str = "retires") -> int:
    details = orders.PersonLeave(person=person, successor=successor, reason=reason)
    return house.do(people.leave(house.sign(by, "person.leave", details, shown="0" * 64), persons.verify_order))


# ---- reached at their address ------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.4")
def test_only_somebody_who_was_reached_becomes_an_owner(house: House) -> None:
    for owner, said in (("nobody", "not enrolled"), ("piet", "verified contact")):
        with pytest.raises(Refused, match=said):
            register(house, owner)
    vouch(house, "quan", "piet")
    register(house, "piet")
    with pytest.raises(Refused, match="verified contact"):
        assign(house, "quan")
    assert house.agent().owner == "piet"


def test_the_code_that_was_sent_verifies_and_is_nowhere_in_the_record(house: House) -> None:
    assert ask(house, "piet") == "piet@shop.example"
    assert give(house, "piet", CODE) == house.state.size - 1
    row = house.state.person["piet"]
    assert (row.verified, row.vouched_by, row.asked) == (address("piet"), None, None)
    assert all(CODE.encode() not in stored.data for stored in house.storage.entries(0, 1000))
    with pytest.raises(Refused, match="verified already"):
        give(house, "piet", CODE)


def test_a_wrong_code_is_on_record_and_five_of_them_void_the_right_one(house: House) -> None:
    ask(house, "piet")
    for tries in range(1, 6):
        assert isinstance(give(house, "piet", "wrong234"), Refused)
        assert house.state.person["piet"].tries == tries
    house.reopen()
    with pytest.raises(Refused, match="tried too often"):
        give(house, "piet", CODE)
    house.clock.skip(2 * MINUTE_US)
    ask(house, "piet", code="another8")
    elsewhere = orders.ContactVerify(person="piet", contact="cd" * 32, how="code")
    signed = house.sign("piet", "contact.verify", elsewhere)
    with pytest.raises(Refused, match="about another address"):
        house.do(people.verify_contact(signed, "another8", persons.verify_order))
    assert isinstance(give(house, "piet", "another8"), int)


def test_nobody_elses_tries_or_late_ones_count(house: House) -> None:
    ask(house, "piet", by="olga")
    with pytest.raises(Refused, match="who gives it themselves"):
        give(house, "piet", CODE, by="quan")
    assert house.state.person["piet"].tries == 0
    house.clock.skip(HOUR_US)
    with pytest.raises(Refused, match="void"):
        give(house, "piet", CODE)


def test_codes_are_sent_by_the_person_or_an_operator_once_a_minute_to_who_has_an_address(house: House) -> None:
    with pytest.raises(Refused, match="role operator"):
        ask(house, "piet", by="quan")
    ask(house, "piet")
    with pytest.raises(Refused, match="within the last minute"):
        ask(house, "piet")
    enrol(house, "sara", email=None)
    with pytest.raises(Refused, match="without an address"):
        ask(house, "sara")
    with pytest.raises(Refused, match="no code was sent"):
        give(house, "quan", CODE)


def test_nobody_vouches_for_themselves_under_any_of_their_names(house: House) -> None:
    with pytest.raises(Refused, match="another person vouches"):
        vouch(house, "piet", "piet")
    house.enrol("sara", "approver", key_of="piet")  # what a forger wrote: the door takes no key twice
    house.signers["sara"] = persons.Signer("sara", house.signers["piet"].key)
    with pytest.raises(Refused, match="signs with their key"):
        vouch(house, "sara", "piet")
    with pytest.raises(NotFound):
        vouch(house, "piet", "nobody")


# ---- gone --------------------------------------------------------------------------------------------------------


@pytest.fixture
def owned(house: House) -> House:
    """refund-bot is piet's and ACTIVE; other-bot is his and has no contract yet; quan could follow him."""
    vouch(house, "rita", "piet")
    vouch(house, "rita", "quan")
    register(house, "piet")
    register(house, "piet", OTHER)
    adopt(house, "piet")
    return house


def adopt(house: House, owner: str, version: int = 1, approver: str = "rita") -> None:
    text = contract_text(RULES, version=version).replace("owner: olga", f"owner: {owner}")
    house.adopt(text, owner=owner, approver=approver)


def test_a_leavers_agents_act_restricted_in_the_same_commit_and_the_successor_is_told_of_each(owned: House) -> None:
    run = owned.run()
    before = owned.state.size
    leave(owned, "piet", "quan")
    entries = owned.entries(before)
    assert {entry.at for entry in entries} == {entries[0].at}
    assert [entry.kind for entry in entries] == [
        "order", "person.left", "page.queued", "authority.changed", "page.queued",
    ]  # fmt: skip
    row = owned.agent()
    assert (row.authority, row.orphaned, owned.agent(OTHER).authority) == ("RESTRICTED", True, "REGISTERED")
    assert owned.state.run[run].open
    pages = owned.bodies(kinds.PageQueued)
    assert [(page.person, page.incident, page.page) for page in pages] == [("quan", None, 1), ("quan", None, 2)]
    assert {page.agent for page in owned.state.page.values()} == {AGENT, OTHER}
    verdict = owned.ask(run, FINE)
    assert verdict.verdict == "ESCALATE", "what cannot be undone asks a person now"


def test_a_leavers_key_orders_nothing_any_more_not_even_a_stop(owned: House) -> None:
    stop = owned.suspend_order("piet")
    leave(owned, "piet", "quan")
    with pytest.raises(Refused, match="their key orders nothing"):
        owned.do(stop)
    with pytest.raises(Refused, match="their key orders nothing"):
        vouch(owned, "piet", "quan")
    assert owned.agent().authority == "RESTRICTED"


def test_leaving_takes_an_operator_who_remains_and_a_successor_who_was_reached(owned: House) -> None:
    for person, successor, by, said in (
        ("piet", "quan", "quan", "role operator"),
        ("piet", "piet", "rita", "cannot follow themselves"),
        ("piet", "olga", "rita", "verified contact"),
        ("piet", "nobody", "rita", "not enrolled"),
    ):
        with pytest.raises(Refused, match=said):
            leave(owned, person, successor, by)
    with pytest.raises(NotFound):
        leave(owned, "nobody", "quan")
    leave(owned, "olga", "quan")
    with pytest.raises(Refused, match="last operator"):
        leave(owned, "rita", "quan")
    with pytest.raises(Refused, match="has left"):
        leave(owned, "olga", "piet")
    leave(owned, "quan", "piet")
    with pytest.raises(Refused, match="has left"):
        leave(owned, "piet", "quan")


def test_leaving_is_said_while_the_node_permits_nothing_and_needs_no_sight(owned: House) -> None:
    owned.write(Draft(body=kinds.Health(part="guard", state="failed", detail="it is away"), actor="node"))
    leave(owned, "piet", "quan")
    assert owned.agent().authority == "RESTRICTED"


def test_an_incident_of_a_leavers_agent_pages_who_follows(owned: House) -> None:
    leave(owned, "piet", "quan")
    owned.suspend("rita")
    case = next(page for page in owned.bodies(kinds.PageQueued) if page.incident == 1)
    assert case.person == "quan"


def test_an_agent_acts_in_full_again_under_the_contract_that_its_next_owner_signs(owned: House) -> None:
    leave(owned, "piet", "quan")
    with pytest.raises(FailwellError):
        adopt(owned, "piet", 2)
    with pytest.raises(Refused, match="agent's owner"):
        adopt(owned, "quan", 2)
    assign(owned, "quan")
    row = owned.agent()
    assert (row.owner, row.authority, row.orphaned) == ("quan", "RESTRICTED", True)
    adopt(owned, "quan", 2)
    row = owned.agent()
    assert (row.authority, row.orphaned) == ("ACTIVE", False)
    assert owned.ask(owned.run(), FINE).verdict == "ALLOW"


def test_a_rule_that_restricts_is_not_undone_by_a_new_owner(owned: House) -> None:
    leave(owned, "piet", "quan")
    owned.suspend("rita")
    assign(owned, "quan")
    adopt(owned, "quan", 2)
    assert (owned.agent().authority, owned.agent().orphaned) == ("SUSPENDED", False)


def test_nobody_is_given_back_to_an_owner_who_left(owned: House) -> None:
    owned.suspend("olga")
    owned.accept_page()
    owned.acknowledge("olga")
    leave(owned, "piet", "quan")
    assert owned.agent().authority == "SUSPENDED"
    details = orders.ReleasePropose(
        incident=1, agent=AGENT, authority="PROBATION", conditions="mended", evidence=(3,)
    )  # fmt: skip
    with pytest.raises(Refused, match="nobody would answer"):
        owned.do(releases.propose_release(owned.sign("olga", "release.propose", details), persons.verify_order))
    assign(owned, "quan")
    owned.do(releases.propose_release(owned.sign("olga", "release.propose", details), persons.verify_order))


def test_what_a_leaver_proposed_or_approved_and_nobody_used_lets_nothing_happen(owned: House) -> None:
    """Attack: the last thing a leaver does is to approve what comes back tomorrow, or to propose a release."""
    run = owned.run()
    number = owned.ask(run, ASK, order="o-1", customer="c-1").entry
    details = orders.TicketApprove(ticket=number, arguments=owned.state.ticket[number].arguments, reason="it is fine")
    owned.do(tickets.approve_ticket(owned.sign("piet", "ticket.approve", details), persons.verify_order))
    owned.suspend("olga", OTHER)
    owned.accept_page()
    owned.acknowledge("olga")
    assign(owned, "quan", agent=OTHER)
    proposal = owned.propose("piet", agent=OTHER)
    leave(owned, "piet", "quan")
    verdict = owned.ask(run, ASK, order="o-1", customer="c-1", ticket=number)
    assert verdict.verdict == "DENY"
    assert "who has left" in verdict.because
    approve = orders.ReleaseApprove(incident=1, agent=OTHER, proposal=proposal)
    with pytest.raises(Refused, match="piet, who proposed this release, has left"):
        owned.do(releases.approve_release(owned.sign("rita", "release.approve", approve), persons.verify_order))


def test_assigning_alone_changes_no_authority_and_no_contract(owned: House) -> None:
    before = owned.agent()
    assign(owned, "quan")
    after = owned.agent()
    assert (after.owner, after.authority, after.epoch, after.contract) == (
        "quan", before.authority, before.epoch, before.contract,
    )  # fmt: skip
    for owner, said in (("quan", "already"), ("nobody", "not enrolled")):
        with pytest.raises(Refused, match=said):
            assign(owned, owner)
    with pytest.raises(Refused, match="role operator"):
        assign(owned, "piet", by="quan")
    with pytest.raises(Refused, match="agent's owner"):
        adopt(owned, "piet", 2)


def test_what_follows_from_a_leaving_is_the_same_after_a_restart(owned: House) -> None:
    leave(owned, "piet", "quan")
    before = owned.stored()
    owned.reopen()
    assert owned.stored() == before
    assert owned.agent().orphaned
    assert owned.state.reachable("piet") == "quan"
    assert not owned.state.present("piet")
