"""Houses in which people are asked about an incident, for tests of who is asked when."""

from __future__ import annotations

from typing import Any

from failwell.core import canonical, kinds, orders, rows
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.ledger.vault import commitment
from failwell.response import escalating
from failwell.response.said import Said
from tests.unit.gate.house import BIG, FATAL, MINUTE_US, SMALL, House, open_house

QUARTER_US, HALF_US = 15 * MINUTE_US, 30 * MINUTE_US
#: What sets off a case that tells nobody.
TINY = "6.00"
__all__ = ["BIG", "FATAL", "HALF_US", "MINUTE_US", "QUARTER_US", "SMALL", "TINY"]
RULES = """
clauses:
  - {id: small, deny: payments.refund, when: context.args.amount == 100, severity: minor}
  - {id: big, deny: payments.refund, when: context.args.amount == 200, severity: major}
  - {id: tiny, deny: payments.refund, when: context.args.amount == 600, severity: minor}
  - {id: fatal, deny: payments.refund, when: context.args.amount == 300, severity: critical}
response:
  - {signal: denied(small), do: [notify]}
  - {signal: denied(tiny), do: [restrict]}
  - {signal: denied(big), do: [suspend, hold, notify]}
"""
ASKED = (kinds.EscalationStarted, kinds.EscalationStepped, kinds.EscalationEnded)


def house_of(settings: Any = None, rules: int = 3) -> House:
    """An agent of olga, who operates; piet, quan, rita and (an operator) sara are here too."""
    house = open_house(RULES)
    house.enrol("sara", "operator")
    if settings is not None:
        configure(house, settings)
    house.write(Draft(body=kinds.ResponseRules(version=rules), actor="node"))
    return house


def configure(house: House, settings: Any) -> None:
    """Put settings in force."""
    text = canonical.encode(settings).decode()
    body = kinds.Config(digest=commitment(b"", text.encode()), text=text)
    house.write(Draft(body=body, actor="person:olga"))


def step(notify: str, **more: Any) -> dict[str, Any]:
    """A step as settings have it."""
    return {"notify": notify, **more}


def path(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Settings with this path."""
    return {"escalation": {"steps": list(steps), **more}}


def opened(settings: Any = None, amount: str = FATAL) -> House:
    """The same with incident 1 just opened."""
    house = house_of(settings)
    house.ask(house.run(), amount)
    return house


def after(house: House, us: int) -> int:
    """Let so much time pass, and the clock do what is due; how many steps that were."""
    house.clock.skip(us)
    taken: int = house.do(escalating.step_due)
    return taken


def row(house: House, incident: int = 1) -> rows.Escalation:
    return house.state.escalation[incident]


def at(house: House, incident: int = 1) -> tuple[str, int, int, int]:
    """State, cycle, step and round."""
    found = row(house, incident)
    return found.state, found.cycle, found.step, found.round


def pages(house: House, incident: int = 1) -> list[tuple[str, str, int, int, int]]:
    """(person, channel, cycle, step, round) of each page of an escalation, in order."""
    return [
        (body.person, body.channel, body.cycle, body.step, body.round)
        for body in house.bodies(kinds.PageQueued4)
        if body.incident == incident and body.cycle
    ]


def asked(house: House) -> list[tuple[str, ...]]:
    """Whom each step asked, in order."""
    return [body.persons for body in house.bodies(kinds.EscalationStepped)]


def attempt(house: House, page: int, *, accepted: bool, permanent: bool = False) -> None:
    """What the outbox writes of an attempt; what is not permanent is tried again later."""
    again = None if accepted or permanent else house.state.last_at_us + MINUTE_US
    body = kinds.PageAttempted2(
        page=page, attempt=house.state.page[page].attempts + 1, accepted=accepted, detail="250" if accepted else "550",
        checkpoint=1, next_due_us=again, permanent=permanent, token=None, provider="smtp",
    )  # fmt: skip
    house.write(Draft(body=body, actor="node"))


def escalate(house: House, person: str, incident: int = 1) -> int:
    """A person asks for somebody else."""
    details = orders.IncidentEscalate(incident=incident, reason="I am on a train")
    signed = house.sign(person, "incident.escalate", details, shown="0" * 64)
    entry: int = house.do(escalating.JOBS["incident.escalate"](signed, persons.verify_order, Said()))
    return entry
