"""What people made of a case, told otherwise in the record: by whom, what, on whose word, and that nothing was late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from failwell.core import kinds, orders
from failwell.core.instants import format_at
from failwell.core.records import Body, Draft
from failwell.identity import keys
from failwell.response.objectives import miss_objectives
from failwell.verify.conduct import Conduct
from failwell.verify.finding import Findings
from tests.unit.gate.house import AGENT, HOUR_US, MINUTE_US, RULES, SECOND_US, SMALL, House
from tests.unit.response import casework
from tests.unit.response.casework import agree, give, opened, propose, report, words, write

replace = msgspec.structs.replace
LOOKED_AT = RULES + "response:\n  - {signal: denied(small), do: [hold, notify]}\n"
HEALTHY = kinds.Health(part="storage", state="ok", detail="as ever")


class Heard(Findings):
    """Keeps where every finding points to, however many of a sort there are."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[tuple[str, int]] = set()

    def add(self, step: int, code: str, message: str, **more: Any) -> None:
        if more.get("entry") is not None:
            self.said.add((code, more["entry"]))
        super().add(step, code, message, **more)


def found(house: House, edit: Mapping[int, Body] | None = None) -> set[tuple[str, int]]:
    """(code, entry) of what `ledger verify` says since people began to work on the case; `edit`: other bodies."""
    heard = Heard()
    conduct = Conduct(heard, keys.verify)
    for entry in house.entries():
        conduct.take(replace(entry, body=(edit or {}).get(entry.seq, entry.body)), house.book.leaf(entry.seq))
    conduct.end()
    began = next(entry.seq for entry in house.entries() if isinstance(entry.body, kinds.ResponseRules))
    return {(code, entry) for code, entry in heard.said if entry >= began}


@pytest.fixture(scope="module")
def lived() -> House:
    """A case with everything in it: two cases merged, tasks, a hand-over, a dismissal that was withdrawn by a signal,
    a mark that two took away, and a reasoned none.
    """
    house = opened(casework.OBJECTIVES)
    casework.end_actions(house)
    until = format_at(house.state.last_at_us + HOUR_US)
    aware = format_at(house.state.last_at_us - HOUR_US)
    house.acknowledge("rita")
    give(house, "rita", orders.IncidentGiveTask(incident=1, person="quan", due=until, words=words("call")), "call")
    give(house, "quan", orders.IncidentEndTask(incident=1, task=1, state="done", words=None))
    give(house, "rita", orders.IncidentHand(incident=1, to="quan", words=None))
    house.acknowledge("quan")
    write(house, "quan", "factor", 3, 4)
    other = report(house, "quan", report="external", aware=aware, first=3, last=4, severity="minor")
    give(house, "quan", orders.IncidentRaise(incident=other, severity="major", reason="money was lost"))
    give(house, "quan", orders.IncidentMerge(incident=other, into=1, reason="the same"))
    give(house, "quan", orders.IncidentSerious(incident=1, reason="health data"))
    agree(house, "piet", propose(house, "rita", "not-serious"))
    agree(house, "rita", propose(house, "piet", "severity", "major"))
    give(house, "quan", orders.IncidentResolve(incident=1, reason="it ended"))
    give(house, "quan", orders.IncidentReopen(incident=1, reason="it did not"))
    house.acknowledge("quan")
    give(house, "quan", orders.IncidentResolve(incident=1, reason="now it did"))
    casework.drop_work(house)
    agree(house, "piet", propose(house, "rita", "none"))
    return house


def told(house: House, kind: type, number: int = -1) -> tuple[int, Any]:
    """(entry, body) of one of a kind, by default the last."""
    entry = [each for each in house.entries() if isinstance(each.body, kind)][number]
    return entry.seq, entry.body


def test_an_honest_case_has_no_finding(lived: House) -> None:
    assert found(lived) == set()
    assert lived.state.incident[1].state == "CLOSED"


CHANGED = kinds.IncidentChanged
FORGED: list[tuple[type, int, dict[str, Any]]] = [
    (kinds.Noticed, -1, {"severity": "critical"}),
    (kinds.Noticed, -1, {"kind": "drill"}),
    (kinds.Noticed, -1, {"aware": None}),
    (kinds.Noticed, -1, {"by": "person:rita"}),
    (kinds.Noticed, -1, {"by": "host:shop"}),
    (kinds.Noticed, -1, {"evidence": "proven"}),
    (kinds.Noticed, -1, {"title": "nothing"}),
    (kinds.Noticed, -1, {"first": 1}),
    (kinds.IncidentOpened, -1, {"kind": "drill"}),
    (kinds.IncidentUpdated, -1, {"state": "INVESTIGATING"}),
    (kinds.IncidentUpdated, 0, {"severity": "minor"}),
    (kinds.IncidentNoted, -1, {"person": "rita"}),
    (kinds.IncidentNoted, -1, {"sort": "note"}),
    (kinds.IncidentNoted, -1, {"cites": (3,)}),
    (kinds.IncidentNoted, -1, {"words": "ab" * 32}),
    (kinds.IncidentTask, -1, {"person": "rita"}),
    (kinds.IncidentTask, -1, {"by": "person:quan"}),
    (kinds.IncidentTask, -1, {"due_us": None}),
    (kinds.IncidentTask, -1, {"words": "ab" * 32}),
    (kinds.IncidentTaskEnded, -1, {"state": "dropped"}),
    (kinds.IncidentTaskEnded, -1, {"person": "rita"}),
    (kinds.IncidentOffered, -1, {"to": "piet"}),
    (kinds.IncidentOffered, -1, {"person": "piet"}),
    (kinds.IncidentMerged, -1, {"why": "to tidy up"}),
    (kinds.IncidentMerged, -1, {"person": "rita"}),
    (kinds.IncidentProposed, -1, {"person": "olga"}),
    (kinds.IncidentProposed, -1, {"why": "because"}),
    (kinds.IncidentProposed, 1, {"value": "minor"}),
    (kinds.IncidentProposed, -1, {"what": "false-alarm"}),
    (kinds.IncidentProposed, -1, {"digest": "ab" * 32}),
    (CHANGED, -1, {"why": "it was closed"}),
    (CHANGED, -2, {"proposal": "ab" * 32}),
    (CHANGED, -2, {"why": "because"}),
    (CHANGED, -3, {"why": "because"}),
]


@pytest.mark.parametrize(("kind", "number", "fields"), FORGED)
def test_what_people_said_of_a_case_told_otherwise_is_found(
    lived: House, kind: type, number: int, fields: dict[str, Any]
) -> None:
    seq, body = told(lived, kind, number)
    assert found(lived, {seq: replace(body, **fields)})


@pytest.mark.parametrize(
    "kind", [CHANGED, kinds.IncidentOpened, kinds.IncidentMerged, kinds.IncidentNoted, kinds.IncidentTask]
)
def test_what_was_made_of_a_case_left_out_is_found(lived: House, kind: type) -> None:
    seq, _ = told(lived, kind)
    assert found(lived, {seq: HEALTHY})


FOR_NOTHING: list[Body] = [
    kinds.IncidentUpdated(incident=1, state="TRIAGED", severity="critical", signal=None, note="taken by rita"),
    kinds.IncidentNoted(incident=1, note=1, sort="note", person="rita", words="ab" * 32, cites=()),
    kinds.IncidentTask(incident=1, task=1, person="rita", by="person:rita", due_us=None, words="ab" * 32),
    kinds.IncidentOffered(incident=1, person="rita", to="quan", words=None),
    kinds.ChangeClaimed(incident=1, change="tool", person="rita", words="ab" * 32),
    kinds.IncidentProposed(incident=1, what="none", value="-", person="rita", digest="ab" * 32, why=""),
    CHANGED(incident=1, what="serious", was="no", now="yes", why="", proposal=None),
]


@pytest.mark.parametrize("body", FOR_NOTHING)
@pytest.mark.parametrize("actor", ["person:rita", "node", "response"])
def test_what_nobody_ordered_is_found(body: Body, actor: str) -> None:
    house = opened()
    house.write(Draft(body=body, actor=actor, agent=AGENT))
    assert found(house)


def test_a_case_that_no_rule_opened_is_found() -> None:
    """Attack: a drill is opened beside the rules, for an agent to be told there."""
    house = casework.new_rules()
    body = kinds.IncidentOpened(
        by="node", incident=1, kind="drill", severity="minor", title="quiet", signal=0, onset_first=0, onset_last=0,
        response=("record",),
    )  # fmt: skip
    house.write(Draft(body=body, actor="node", agent=AGENT))
    assert ("case.objective", house.state.size - 1) in found(house)


@pytest.mark.parametrize(("proposer", "agrees"), [("rita", "rita"), ("rita", "sara"), ("rita", "olga")])
@pytest.mark.requirement("R24.13")
def test_two_genuine_orders_by_one_person_one_key_or_no_approver_are_found(proposer: str, agrees: str) -> None:
    """Attack: whoever runs the node lets one person alone, or somebody without the role, take it from a case."""
    house = opened()
    casework.end_actions(house)
    house.enrol("sara", "approver", key_of="rita")
    house.signers["sara"] = replace_signer(house)
    proposal = propose(house, proposer, "severity", "minor")
    details = orders.IncidentAgree(incident=1, proposal=proposal)
    signed = house.sign(agrees, "incident.agree", details)
    order = kinds.Order(
        order="incident.agree", person=agrees, key=signed.key, text=signed.order, signature=signed.signature,
        source="node",
    )  # fmt: skip
    change = CHANGED(
        incident=1, what="severity", was="critical", now="minor", why="as it seems to me", proposal=proposal
    )
    actor = f"person:{agrees}"
    if agrees == proposer:
        with pytest.raises(Exception, match="nobody else"):
            house.write(Draft(body=order, actor=actor), Draft(body=change, actor=actor, agent=AGENT))
        return
    house.write(Draft(body=order, actor=actor), Draft(body=change, actor=actor, agent=AGENT))
    assert ("order.effect", house.state.size - 1) in found(house)


def replace_signer(house: House) -> Any:
    from failwell.identity import persons

    return persons.Signer("sara", house.signers["rita"].key)


@pytest.mark.parametrize(
    ("state", "severity"), [("LEARNED", "critical"), ("RESOLVED", "critical"), ("TRIAGED", "critical")]
)
@pytest.mark.requirement("R22.8")
def test_a_case_led_on_by_a_genuine_order_to_take_it_is_found(state: str, severity: str) -> None:
    """Attack: whoever runs the node has somebody take a case, and writes that it is learned from, or graver."""
    house = casework.resolved() if state == "LEARNED" else casework.new_rules(LOOKED_AT)
    if state != "LEARNED":
        house.ask(house.run(), SMALL)
    if state == "RESOLVED":
        house.acknowledge("rita")
        write(house, "rita", "factor", 3)
    signed = house.sign("quan", "incident.acknowledge", orders.IncidentAcknowledge(incident=1))
    order = kinds.Order(
        order="incident.acknowledge", person="quan", key=signed.key, text=signed.order, signature=signed.signature,
        source="node",
    )  # fmt: skip
    taken = kinds.Acknowledged(incident=1, person="quan")
    update = kinds.IncidentUpdated(incident=1, state=state, severity=severity, signal=None, note="taken by quan")
    assert found(house) == set()
    house.write(*(Draft(body=body, actor="person:quan", agent=AGENT) for body in (order, taken, update)))
    assert ("order.effect", house.newest(kinds.IncidentUpdated)) in found(house)


# ---- objectives ----------------------------------------------------------------------------------------------


def late() -> House:
    """A critical case that nobody took for six minutes; it was agreed that somebody does within five."""
    house = opened(casework.OBJECTIVES)
    house.clock.skip(6 * MINUTE_US)
    house.do(miss_objectives)
    return house


@pytest.mark.requirement("R22.4")
def test_a_missed_objective_is_a_signal() -> None:
    house = late()
    seq, _ = told(house, kinds.ObjectiveMissed)
    raised = [
        entry.body for entry in house.entries() if isinstance(entry.body, kinds.Signal) and entry.body.about == seq
    ]
    assert [body.signal for body in raised] == ["objective(acknowledge)"]


@pytest.mark.requirement("R22.7")
def test_a_missed_objective_that_was_not_due_or_is_told_otherwise_is_found() -> None:
    house = late()
    assert found(house) == set()
    seq, body = told(house, kinds.ObjectiveMissed)
    for fields in ({"objective": "resolve"}, {"due_us": body.due_us - 1}, {"severity": "minor"}):
        assert found(house, {seq: replace(body, **fields)}), fields


@pytest.mark.requirement("R22.6")
def test_a_missed_objective_that_is_left_out_is_found_once_a_node_had_the_time() -> None:
    house = late()
    seq, _ = told(house, kinds.ObjectiveMissed)
    run = house.run()
    for _ in range(70):
        house.clock.skip(SECOND_US)
        house.ask(run)
    assert found(house) == set()
    following = {each.seq: HEALTHY for each in house.entries() if seq <= each.seq <= seq + 3}
    assert any(code == "case.objective" for code, _ in found(house, following))


@pytest.mark.requirement("R22.5")
def test_a_step_that_came_too_late_is_on_record_in_its_commit_also_where_no_node_noticed() -> None:
    house = opened(casework.OBJECTIVES)
    house.clock.skip(6 * MINUTE_US)
    house.acknowledge("rita")
    (missed,) = house.bodies(kinds.ObjectiveMissed)
    assert (missed.objective, missed.severity) == ("acknowledge", "critical")
    assert found(house) == set()
    seq, _ = told(house, kinds.ObjectiveMissed)
    assert found(house, {seq: HEALTHY})
