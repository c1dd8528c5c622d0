"""People and floors in the record: what a leaver, one person alone or nobody wrote is found where it stands (I7)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core import kinds, orders
from failwell.core.records import Draft, Entry
from failwell.gate import floors, people, registry
from failwell.identity import keys, names, persons
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace
from tests.unit.verify.ledgers import AGENT, Made

OTHER = "spiffe://shop.example/agent/other-bot"
CODE, SALT = "k7m2p9qx", b"salt of the code"


def life(made: Made) -> None:
    """A code that came back, a group, a second floor, a leaving, and the next owner's contract."""
    ledgers.begin(made)
    ask = orders.ContactAsk(person="piet", contact=ledgers.contact("piet"))
    made.do(people.ask_contact(made.sign("piet", "contact.ask", ask), CODE, SALT, persons.verify_order))
    give = orders.ContactVerify(person="piet", contact=ledgers.contact("piet"), how="code")
    for code in ("wrong234", CODE):
        made.do(people.verify_contact(made.sign("piet", "contact.verify", give), code, persons.verify_order))
    key = base64.b64encode(keys.from_seed(b"o" * 32).public).decode()
    other = orders.AgentRegister(agent=OTHER, key=key, owner="olga", groups=("night",))
    signed = made.sign("olga", "agent.register", other)
    made.do(registry.register_agent(signed, "other-bot", persons.verify_order, names.check_distinct))
    join = orders.AgentGroup(agent=AGENT, group="payments")
    joined = made.sign("piet", "agent.group", join)
    made.do(floors.join_group(joined, persons.verify_order, names.check_distinct))
    made.run()
    leave = orders.PersonLeave(person="olga", successor="piet", reason="retires")
    made.do(people.leave(made.sign("piet", "person.leave", leave, shown="0" * 64), persons.verify_order))
    assign = orders.AgentAssign(agent=AGENT, owner="piet")
    made.do(people.assign_agent(made.sign("piet", "agent.assign", assign), persons.verify_order))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    path: Path = tmp_path_factory.mktemp("standing") / "shop"
    with ledgers.fresh(path) as made:
        life(made)
    return Image(path)


def last(image: Image, kind: type) -> Entry[Any]:
    return [entry for entry in Forger(image).entries() if isinstance(entry.body, kind)][-1]


def test_an_honest_life_of_people_and_floors_has_no_finding(image: Image) -> None:
    report = Forger(image).verify()
    assert report.ok, report.findings
    assert {"person.left", "agent.assigned", "agent.grouped", "floor.adopted", "contact.verified"} <= {
        entry.kind for entry in Forger(image).entries()
    }


def changed(image: Image, kind: type, how: Callable[[Any], Any]) -> tuple[int, Any]:
    """(entry, report) of a record in which the newest entry of a kind says something else, all hashes made new."""
    entry = last(image, kind)
    forger = Forger(image)
    forger.change(entry.seq, lambda each: replace(each, body=how(each.body)), resign=True)
    return entry.seq, forger.verify()


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (kinds.ContactVerified, {"person": "quan"}),
        (kinds.ContactVerified, {"contact": "ab" * 32}),
        (kinds.ContactVerified, {"how": "vouched"}),
        (kinds.ContactVerified, {"by": "olga"}),
        (kinds.ContactAsked, {"person": "quan"}),
        (kinds.ContactAsked, {"contact": "ab" * 32}),
        (kinds.ContactAsked, {"due_us": 2**52}),
        (kinds.PersonLeft, {"why": "was dismissed"}),
        (kinds.AgentAssigned, {"owner": "olga"}),
        (kinds.AgentGrouped, {"group": "nobody", "groups": ("nobody",)}),
        (kinds.AgentRegistered2, {"owner": "quan"}),
        (kinds.AgentRegistered2, {"groups": ()}),
        (kinds.FloorAdopted, {"signer": "quan"}),
        (kinds.FloorAdopted, {"version": 2}),
        (kinds.FloorAdopted, {"scope": "group:nobody"}),
    ],
)
def test_what_people_ordered_said_otherwise_is_found(image: Image, kind: type, fields: dict[str, Any]) -> None:
    seq, report = changed(image, kind, lambda body: replace(body, **fields))
    assert not report.ok
    assert report.first_bad is not None
    assert report.first_bad <= seq
    assert any(finding.entry == seq for finding in report.findings), report.findings


def test_a_floor_loosened_under_its_signatures_is_found(image: Image) -> None:
    seq, report = changed(
        image, kinds.FloorAdopted, lambda body: replace(body, document=body.document.replace("900000", "990000"))
    )
    assert report.first_bad == seq
    assert report.counts["order.effect"] >= 1


def test_a_leaving_that_is_taken_out_or_restricts_nobody_is_found(image: Image) -> None:
    entries = Forger(image).entries()
    left = last(image, kinds.PersonLeft).seq
    restricted = next(entry for entry in entries[left:] if isinstance(entry.body, kinds.AuthorityChanged))
    assert restricted.body.now == "RESTRICTED"
    forger = Forger(image)
    forger.change(restricted.seq, lambda each: replace(each, body=replace(each.body, now="SUSPENDED")), resign=True)
    assert not forger.verify().ok
    note = kinds.Health(part="storage", state="ok", detail="all is well")
    forger = Forger(image)
    forger.change(left, lambda each: replace(each, body=note, kind="health"), resign=True)
    report = forger.verify()
    assert not report.ok
    assert report.counts["reaction.uncaused"] >= 1


def test_what_nobody_ordered_about_people_and_floors_is_found(image: Image) -> None:
    floor = last(image, kinds.FloorAdopted).body
    given = kinds.AuthorityChanged(
        was="RESTRICTED", now="ACTIVE", epoch=9, why="piet answers for it now", incident=None, by="person:piet"
    )
    forged: list[tuple[Any, str, str | None]] = [
        (kinds.ContactVerified(person="quan", contact=ledgers.contact("quan"), how="vouched", by="piet"), "piet", None),
        (kinds.ContactAsked(person="quan", contact=ledgers.contact("quan"), code="0" * 64, due_us=9), "piet", None),
        (kinds.PersonLeft(person="quan", successor="piet", why="gone"), "piet", None),
        (kinds.AgentAssigned(was="olga", owner="piet"), "piet", OTHER),
        (kinds.AgentGrouped(group="x", groups=("night", "x")), "piet", OTHER),
        (replace(floor, version=2), "piet", None),
        (given, "piet", AGENT),
    ]
    for body, person, agent in forged:
        forger = Forger(image)
        seq = forger.append(body, f"person:{person}", agent)
        report = forger.verify()
        assert report.first_bad == seq, (body, report.findings)
        assert report.counts["order.effect"] >= 1, body


def ordered(
    tmp_path: Path, person: str, kind: str, details: orders.Details, body: Any, agent: str | None = None
) -> tuple[int, Any]:
    """(entry, report) after a real signature of `person` was written, with what the door would have refused."""
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        life(made)
        signed = made.sign(person, kind, details, shown="0" * 64)
        order = kinds.Order(
            order=kind, person=person, key=signed.key, text=signed.order, signature=signed.signature, source="node"
        )
        drafts = [Draft(body=order, actor=f"person:{person}", agent=agent)]
        if body is not None:
            drafts.append(Draft(body=body, actor=f"person:{person}", agent=agent))
        seq = made.write(*drafts)[-1]
    return seq, Forger(Image(path)).verify()


def test_an_order_of_somebody_who_left_is_found(tmp_path: Path) -> None:
    stop = orders.AgentSuspend(agent=OTHER, reason="mine")
    seq, report = ordered(tmp_path, "olga", "agent.suspend", stop, None, OTHER)
    assert report.first_bad == seq
    assert "had left" in report.findings[0].message


@pytest.mark.parametrize(
    ("person", "kind", "details", "body", "said"),
    [
        (
            "quan", "contact.verify",
            orders.ContactVerify(person="quan", contact=ledgers.contact("quan"), how="vouched"),
            kinds.ContactVerified(person="quan", contact=ledgers.contact("quan"), how="vouched", by="quan"),
            "vouches for themselves",
        ),
        (
            "quan", "contact.verify",
            orders.ContactVerify(person="quan", contact=ledgers.contact("quan"), how="code"),
            kinds.ContactVerified(person="quan", contact=ledgers.contact("quan"), how="code", by="quan"),
            "no code was sent",
        ),
        (
            "quan", "contact.ask", orders.ContactAsk(person="piet", contact=ledgers.contact("piet")),
            kinds.ContactAsked(person="piet", contact=ledgers.contact("piet"), code="0" * 64, due_us=9),
            "is no operator",
        ),
        (
            "quan", "agent.assign", orders.AgentAssign(agent=OTHER, owner="piet"),
            kinds.AgentAssigned(was="olga", owner="piet"), "is no operator",
        ),
        (
            "piet", "agent.assign", orders.AgentAssign(agent=AGENT, owner="piet"),
            kinds.AgentAssigned(was="olga", owner="piet"), "another agent or group",
        ),
    ],
)  # fmt: skip
def test_a_real_signature_under_what_it_does_not_bear_is_found(
    tmp_path: Path, person: str, kind: str, details: orders.Details, body: Any, said: str
) -> None:
    agent = OTHER if isinstance(body, kinds.AgentAssigned) else None
    seq, report = ordered(tmp_path, person, kind, details, body, agent)
    assert report.first_bad == seq, report.findings
    assert said in " ".join(finding.message for finding in report.findings)


def test_a_floor_that_one_person_put_in_force_alone_is_found(tmp_path: Path) -> None:
    floor = contracts.load_floor(ledgers.FLOOR.replace("version: 1", "version: 2"), name="f")
    document = contracts.floor_to_canonical(floor).decode()
    named: dict[str, Any] = {"floor": floor.floor, "version": 2, "digest": contracts.floor_digest(floor)}
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        life(made)
        first = made.sign("piet", "floor.sign", orders.FloorSign(**named))
        cited = orders.order_digest(orders.parse_order(first.order))
        second = made.sign("piet", "floor.adopt", orders.FloorAdopt(**named, signed=cited))
        put = [
            kinds.Order(order=kind, person="piet", key=one.key, text=one.order, signature=one.signature, source="node")
            for kind, one in (("floor.sign", first), ("floor.adopt", second))
        ]
        body = kinds.FloorAdopted(
            **named, scope=floor.scope, signer="piet", approver="piet", document=document
        )  # fmt: skip
        seq = made.write(*(Draft(body=each, actor="person:piet") for each in (*put, body)))[-1]
    report = Forger(Image(path)).verify()
    assert report.first_bad == seq
    assert "second person" in report.findings[0].message


def test_an_agent_that_a_rule_restricts_is_not_freed_by_a_contract(tmp_path: Path) -> None:
    """The adoption is real; that it also gave authority back is the forger's word."""
    path = tmp_path / "shop"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        made.write(
            Draft(
                body=kinds.AuthorityChanged(
                    was="ACTIVE", now="RESTRICTED", epoch=2, why="a rule", incident=None, by="response"
                ),
                actor="node", agent=AGENT,
            )
        )  # fmt: skip
        ledgers.adopt(made, ledgers.CONTRACT.replace("version: 1", "version: 2"))
    forger = Forger(Image(path))
    entries = forger.entries()
    adopted = [entry for entry in entries if isinstance(entry.body, kinds.ContractAdopted)][-1]
    given = kinds.AuthorityChanged(was="RESTRICTED", now="ACTIVE", epoch=3, why="fine", incident=None, by="person:piet")
    posture = next(entry for entry in entries[adopted.seq :] if isinstance(entry.body, kinds.Posture))
    forger.change(posture.seq, lambda each: replace(each, body=given, kind="authority.changed"), resign=True)
    report = forger.verify()
    assert any("does not undo" in finding.message for finding in report.findings), report.findings
