"""People at work on a case, in a house under this release's rules: each order signed and carried out as a node does."""

from __future__ import annotations

from typing import Any

from failwell.core import canonical, kinds, orders
from failwell.core.react import RULES as VERSION
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.ledger.jobs import Job
from failwell.ledger.vault import commitment
from failwell.response import cases, work
from failwell.response.said import Said
from tests.unit.gate.house import FATAL, RULES, House, open_house

SALT = b"s" * 16
HOUR_S = 3600
OBJECTIVES: dict[str, Any] = {
    "critical": {"acknowledge_s": 300, "investigate_s": HOUR_S, "resolve_s": 24 * HOUR_S},
    "major": {"acknowledge_s": HOUR_S},
}


def new_rules(rules: str = RULES, objectives: Any = None) -> House:
    """A house whose ledger is told by the rules of this release, with objectives in force where some are given."""
    house = open_house(rules)
    if objectives is not None:
        text = canonical.encode({"objectives": objectives}).decode()
        body = kinds.Config(digest=commitment(b"", text.encode()), text=text)
        house.write(Draft(body=body, actor="person:olga"))
    house.write(Draft(body=kinds.ResponseRules(version=VERSION), actor="node"))
    return house


def opened(objectives: Any = None) -> House:
    """With one agent that a rule suspended while one of its actions ran: incident 1, critical."""
    house = new_rules(objectives=objectives)
    run = house.run()
    house.ask(run)
    house.ask(run, FATAL)
    return house


def ready(house: House, person: str, details: orders.Details, text: str | None = None) -> Job[Any]:
    """A signed order about a case, over what stands now, and the job that carries it out."""
    kind = next(name for name, power in orders.POWERS.items() if power.details is type(details))
    signed = house.sign(person, kind, details)
    said = Said() if text is None else Said(text, SALT.hex())
    return cases.JOBS[kind](signed, persons.verify_order, said)


def give(house: House, person: str, details: orders.Details, text: str | None = None) -> Any:
    """Have it carried out."""
    return house.do(ready(house, person, details, text))


def words(text: str) -> str:
    """What an order holds of a text."""
    return commitment(SALT, text.encode())


def write(house: House, person: str, sort: str, *cites: int, incident: int = 1, text: str = "it looped") -> int:
    """A note, finding or factor; its entry."""
    details = orders.IncidentNote(incident=incident, sort=sort, words=words(text), cites=cites)
    entry: int = give(house, person, details, text)
    return entry


def propose(house: House, person: str, what: str, value: str = "-", incident: int = 1) -> str:
    """Propose what takes two; the proposal's digest."""
    details = orders.IncidentPropose(incident=incident, what=what, value=value, reason="as it seems to me")
    give(house, person, details)
    waits = house.state.incident[incident].proposed
    assert waits is not None
    return waits.digest


def agree(house: House, person: str, proposal: str, incident: int = 1) -> Any:
    """Agree to it."""
    return give(house, person, orders.IncidentAgree(incident=incident, proposal=proposal))


def end_actions(house: House, incident: int = 1) -> None:
    """What was to stop is shown to have stopped."""
    for action in house.state.incident[incident].waiting:
        house.stop(action)


def drop_work(house: House, incident: int = 1) -> None:
    """The runs that were left are gone on with by nobody."""
    for place in [place for place, row in house.state.work.items() if row.state in ("left", "taken")]:
        run = int(place.partition("/")[2])
        details = orders.WorkEnd(incident=incident, run=run, state="dropped", words=words("not needed"))
        signed = house.sign("olga", "work.end", details)
        house.do(work.JOBS["work.end"](signed, persons.verify_order, Said("not needed", SALT.hex())))


def unseen() -> kinds.EffectWitnessed:
    """An effect that no verdict stands for."""
    return kinds.EffectWitnessed(
        witness="log", ref="1", tool="payments.refund", decision=None, customer=None, at_tool=None, line="ab" * 32,
        cursor=None, fault=None,
    )  # fmt: skip


def resolved(objectives: Any = None) -> House:
    """Taken by rita, found out about, resolved by her."""
    house = opened(objectives)
    end_actions(house)
    house.acknowledge("rita")
    write(house, "rita", "factor", 3)
    give(house, "rita", orders.IncidentResolve(incident=1, reason="the loop ended"))
    drop_work(house)
    return house


def report(house: House, person: str = "quan", agent: str | None = None, **more: Any) -> int:
    """A person's report; the incident that it opens."""
    fields: dict[str, Any] = {
        "report": "real", "severity": "major", "title": "a customer called", "words": None, "aware": None,
        "first": None, "last": None, **more,
    }  # fmt: skip
    number: int = give(house, person, orders.IncidentReport(agent=agent, **fields))
    return number
