"""What people do who are asked about incidents: they take it, by order or by a link, note something or go silent, ask
for somebody else, cover a turn, say that it was a false alarm and that it was none, and leave.

Each does so by the product's own orders, whatever the node goes through meanwhile (`tests.property.escalations`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from failwell.core import kinds, orders, rows
from failwell.core.errors import NotFound, Refused, Unhealthy
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.ledger.jobs import Plan
from failwell.ledger.vault import commitment
from failwell.node.posting import EMAIL
from failwell.response import agreeing, answers, cases, escalating, teams
from failwell.response import orders as taking
from failwell.response.said import Said

if TYPE_CHECKING:
    from tests.property.escalations import World

SECOND_US, HOUR_US = 1_000_000, 3_600_000_000
PEOPLE = ("olga", "piet", "quan", "rita", "sara")
LOOKED, SALT = "looked at it", b"s" * 16


class People:
    """Everybody of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        #: When who takes which incident: they were told of it.
        self.awake: list[tuple[int, str, int]] = []

    def wake(self, since: int) -> None:
        """Whoever was told lately may take it, some time later."""
        for number, row in self._world.house.state.escalation.items():
            for page in row.told:
                if page.page > since and page.state == "accepted" and self._rng.random() < 0.25:
                    at_us = self._world.house.clock.wall_us() + self._rng.choice((1, 20, 200, 2000)) * SECOND_US
                    self.awake.append((at_us, page.person, number))

    def act(self) -> None:
        """What people do whose time has come, and now and then something of their own accord."""
        now_us = self._world.house.clock.wall_us()
        for each in list(self.awake):
            if each[0] <= now_us:
                self.awake.remove(each)
                self._take(each[1], each[2])
        if self._rng.random() < 0.08:
            self._of_their_own()

    def _take(self, person: str, number: int) -> None:
        row = self._world.house.state.escalation.get(number)
        if row is None or not self._world.house.state.enrolled(person):
            return
        if self._rng.random() < 0.5:
            self._answer(row, number, person)
            return
        signed = self._world.house.sign(person, "incident.acknowledge", orders.IncidentAcknowledge(incident=number))
        with contextlib.suppress(Refused, NotFound):
            self._world.do(taking.acknowledge(signed, persons.verify_order), "a step")
            self._world.counts["taken by order"] += 1

    def _answer(self, row: rows.Escalation, number: int, person: str) -> None:
        mine = [page for page in row.told if page.person == person and page.channel == EMAIL]
        if not mine:
            return
        page = self._rng.choice(mine)
        given = answers.Given("link", f"{page.page:064x}", page.page, person, "by a link")
        for _ in range(self._rng.choice((1, 1, 2))):
            with contextlib.suppress(Refused, NotFound, Unhealthy):  # of a page that is not on record as sent yet
                self._world.do(answers.acknowledge(given), "a step")
                self._world.counts["taken by link"] += 1

    def _of_their_own(self) -> None:
        numbers = list(self._world.house.state.escalation)
        person = self._rng.choice(PEOPLE)
        if not numbers or not self._world.house.state.enrolled(person):
            return
        what = self._rng.choices(
            (self._pass_on, self._note, self._end, self._cover, self._leave), (0.35, 0.3, 0.15, 0.15, 0.05)
        )[0]
        with contextlib.suppress(Refused, NotFound):
            what(person, self._rng.choice(numbers))

    def _pass_on(self, person: str, number: int) -> None:
        details = orders.IncidentEscalate(incident=number, reason="not me")
        self._order(person, "incident.escalate", details, escalating.JOBS)

    def _note(self, person: str, number: int) -> None:
        words = commitment(SALT, LOOKED.encode())
        details = orders.IncidentNote(incident=number, sort="note", words=words, cites=())
        self._order(person, "incident.note", details, cases.JOBS, Said(LOOKED, SALT.hex()))

    def _end(self, person: str, number: int) -> None:
        """Two say that it was a false alarm; where two did so, one says that it was none."""
        case = self._world.house.state.incident[number]
        if case.state == "FALSE_ALARM":
            again = orders.IncidentReopen(incident=number, reason="it goes on")
            self._order(person, "incident.reopen", again, cases.JOBS)
        elif case.proposed is None:
            details = orders.IncidentPropose(incident=number, what="false-alarm", value="-", reason="nothing was wrong")
            self._order(person, "incident.propose", details, agreeing.JOBS)
        else:
            agree = orders.IncidentAgree(incident=number, proposal=case.proposed.digest)
            self._order(person, "incident.agree", agree, agreeing.JOBS)

    def _cover(self, person: str, number: int) -> None:
        """An operator covers, or has covered, a turn of the night; or a cover ends before its time."""
        state, now_us = self._world.house.state, self._world.house.clock.wall_us()
        running = [seq for seq, row in state.cover.items() if not row.ended and row.until_us > now_us]
        if running and self._rng.random() < 0.3:
            details: Any = orders.TeamUncover(cover=self._rng.choice(running))
            self._order("olga", "team.uncover", details, teams.JOBS)
            return
        since_us = now_us + self._rng.choice((0, 1, 3)) * HOUR_US
        until_us = since_us + self._rng.choice((1, 6, 12)) * HOUR_US
        team, members = self._rng.choice((("day", ("piet", "quan")), ("night", ("rita", "sara"))))
        details = orders.TeamCover(
            team=team, person=person,
            instead_of=self._rng.choice((None, *(member for member in members if member != person))),
            since=format_at(since_us), until=format_at(until_us),
        )  # fmt: skip
        self._order("olga", "team.cover", details, teams.JOBS)

    def _leave(self, person: str, number: int) -> None:
        if person in ("olga", "sara"):
            return
        body = kinds.PersonLeft(person=person, successor="olga", why="gone")
        self._world.do(lambda turn: Plan((Draft(body=body, actor="person:olga"),), lambda entries: None), "a step")
        self._world.counts["left"] += 1

    def _order(self, person: str, kind: str, details: Any, jobs: Any, said: Said | None = None) -> None:
        signed = self._world.house.sign(person, kind, details)
        self._world.do(jobs[kind](signed, persons.verify_order, said or Said()), "a step")
        self._world.counts[kind] += 1
