"""Houses in which authority was taken, for tests of how it is given back."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from failwell.core import kinds, orders
from failwell.core.records import Draft, Entry
from failwell.identity import keys, persons
from failwell.ledger.vault import commitment
from failwell.response import releases
from failwell.response.said import Said
from failwell.verify.conduct import Conduct
from failwell.verify.finding import Findings
from tests.unit.gate.house import AGENT, FATAL, House, open_house

SALT = b"salt of sixteen."


def suspended(*, by: str | None = None) -> House:
    """A house of today's rules whose agent was suspended, by a rule or by a person; all of it contained and taken."""
    house = open_house()
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    if by is None:
        house.ask(house.run(), FATAL)
    else:
        house.suspend(by)
    contain(house)
    return house


def contain(house: House, taker: str = "olga") -> None:
    """Everything that a release of the agent's case needs of the containment."""
    number = house.agent().incident
    assert number is not None
    for action in house.state.incident[number].waiting:
        house.stop(action)
    for page in [page for page, row in house.state.page.items() if row.incident == number]:
        house.accept_page(page)
    house.acknowledge(taker, number)


def given_back(*, by: str | None = None) -> House:
    """The same, released into PROBATION by olga and piet."""
    house = suspended(by=by)
    house.approve("piet", house.propose("olga"))
    return house


def enrol(house: House, name: str, by: str) -> None:
    """Enrol somebody with a key of their own, by an order of `by`."""
    key = keys.from_seed(name.encode().ljust(32, b"-"))
    house.signers[name] = persons.Signer(name, key)
    body = kinds.PersonEnrolled(person=name, key=base64.b64encode(key.public).decode(), roles=("approver", "operator"))
    house.write(Draft(body=body, actor=f"person:{by}"))


def later(house: House, us: int) -> None:
    """Let time pass, and something be written by then: orders are signed at ledger time."""
    house.clock.skip(us)
    house.write(Draft(body=kinds.Health(part="clock", state="ok", detail="time passed"), actor="node"))


def break_glass(house: House, person: str, minutes: int = 60, incident: int = 1) -> int:
    details = orders.ReleaseBreak(incident=incident, agent=AGENT, reason="the shop stands still", minutes=minutes)
    signed = house.sign(person, "release.break", details)
    return house.do(releases.break_release(signed, persons.verify_order, Said()))


def review(house: House, person: str, *, upheld: bool, incident: int = 1, text: str = "the queue was growing") -> int:
    words = commitment(SALT, text.encode())
    broken = house.state.incident[incident].broken
    assert broken is not None
    details = orders.ReleaseReview(incident=incident, broken=broken, upheld=upheld, words=words)
    signed = house.sign(person, "release.review", details)
    return house.do(releases.review_release(signed, persons.verify_order, Said(text, SALT.hex())))


class _Heard(Findings):
    """Keeps what is said of one code."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code
        self.said: list[str] = []

    def add(self, step: int, code: str, message: str, **more: Any) -> None:
        if code == self.code:
            self.said.append(message)
        super().add(step, code, message, **more)


def findings(house: House, *, edit: dict[int, Any] | None = None, code: str = "release") -> list[str]:
    """What `ledger verify` finds wrong with what was given back; `edit`: other bodies, by entry."""
    heard = _Heard(code)
    conduct = Conduct(heard, keys.verify)
    for entry in house.entries():
        body = (edit or {}).get(entry.seq, entry.body)
        conduct.take(msgspec.structs.replace(entry, body=body), house.book.leaf(entry.seq))
    return heard.said


def last(house: House, kind: type[Any]) -> Entry[Any]:
    """The newest entry of a kind."""
    return [entry for entry in house.entries() if isinstance(entry.body, kind)][-1]
