"""Random histories of one ledger: everything that agents, people, tools and clocks can do to it, in any order.

A step is (what, number): the number picks among what there is, so that any list of steps is a history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from failwell.core import kinds
from failwell.core.errors import NotFound, Refused
from failwell.core.machines import OUTCOMES
from failwell.core.records import Draft
from failwell.gate import outcomes, runs
from tests.unit.gate.house import AGENT, ASK, BIG, DAY_US, FATAL, FINE, HOUR_US, MINUTE_US, OTHER, SMALL, House

Step = tuple[str, int]
_AMOUNTS = (FINE, FINE, FINE, SMALL, BIG, FATAL, ASK)
_SKIPS = (0, 1, MINUTE_US, 10 * MINUTE_US, HOUR_US - 1, HOUR_US, DAY_US, DAY_US + 1)
_STEPS = (-HOUR_US, -1, 0, MINUTE_US, MINUTE_US + 1, 3 * HOUR_US)


def _pick(known: Any, number: int) -> Any:
    known = list(known)
    return known[number % len(known)] if known else None


def _open_run(house: House, number: int) -> None:
    house.run(AGENT if number % 3 else OTHER, principal=_pick((None, "customer:1"), number), request="please")


def _close_run(house: House, number: int) -> None:
    run = _pick(house.state.run, number)
    if run is not None:
        house.do(runs.close_run(run, house.state.run[run].agent, "done"))


def _ask(house: House, number: int) -> None:
    run = _pick(house.state.run, number // 7)
    house.ask(run, _AMOUNTS[number % 7], order=f"o-{number % 3}")


def _ask_again(house: House, number: int) -> None:
    """A call id that was used before, for the same arguments or for others."""
    run = _pick([seq for seq, calls in house.state.calls.items() if calls], number)
    if run is not None:
        call = _pick(house.state.calls[run], number // 2)
        agent = house.state.run[run].agent
        house.ask(run, FINE, call=call, order="again", customer=f"c-{number % 2}", agent=agent)


def _ask_from_nowhere(house: House, number: int) -> None:
    agent = _pick((AGENT, OTHER, "spiffe://shop.example/agent/nobody"), number)
    run = _pick((None, *house.state.run, 3), number // 3)
    house.ask(run, FINE, agent=agent, call=f"call-{number % 2}")


def _ask_together(house: House, number: int) -> None:
    """Three actions in one commit, two of them the same call."""
    run = _pick(house.state.run, number)
    first, second = house.proposal(run, _AMOUNTS[number % 7]), house.proposal(run, FINE, order="o-1")
    house.batch(*(house.gate.decide(each) for each in (first, first, second)))


def _settle(house: House, number: int) -> None:
    action = _pick([seq for seq, row in house.state.action.items() if row.state == "open"], number)
    if action is not None:
        house.settle(action, _pick(sorted(OUTCOMES), number))


def _stop(house: House, number: int) -> None:
    waiting = [action for row in house.state.incident.values() for action in row.waiting]
    action = _pick(waiting, number)
    if action is not None:
        house.stop(action, _pick(("interrupted_confirmed", "completed", "interrupted_unconfirmed"), number))


def _witness(house: House, number: int) -> None:
    decisions = [entry.seq for entry in house.entries() if isinstance(entry.body, kinds.Decision)]
    effects = tuple(
        outcomes.Witnessed(
            witness="log", ref=f"{house.state.size}-{place}", tool="payments.refund", at=None,
            customer=f"c-{number + place}", action=_pick([*decisions, None, 10**18], number + place), line="ab" * 32,
        )
        for place in range(1 + number % 2)
    )  # fmt: skip
    house.do(outcomes.record_effects(AGENT, effects))


def _page(house: House, number: int) -> None:
    page = _pick(house.state.page, number)
    if page is not None:
        row = house.state.page[page]
        due = None if number % 3 else house.state.last_at_us + 1
        body = kinds.PageAttempted(
            page=page, attempt=row.attempts + 1, accepted=number % 3 == 1, detail="", checkpoint=0, next_due_us=due
        )
        house.write(Draft(body=body, actor="node", agent=AGENT))


def _release(house: House, number: int) -> None:
    incident = house.agent().incident
    if incident is not None and house.agent().authority == "SUSPENDED":
        house.release(incident)


def _reboot(house: House, number: int) -> None:
    house.clock.reboot(_STEPS[number % len(_STEPS)])
    house.reopen()


_WHAT: dict[str, Callable[[House, int], object]] = {
    "open": _open_run,
    "close": _close_run,
    "ask": _ask,
    "ask again": _ask_again,
    "ask from nowhere": _ask_from_nowhere,
    "ask together": _ask_together,
    "settle": _settle,
    "stop": _stop,
    "witness": _witness,
    "page": _page,
    "suspend": lambda house, number: house.suspend(_pick(("olga", "piet"), number)),
    "acknowledge": lambda house, number: house.acknowledge("quan", house.state.incidents),
    "release": _release,
    "skip": lambda house, number: house.clock.skip(_SKIPS[number % len(_SKIPS)]),
    "reboot": _reboot,
    "restart": lambda house, number: house.reopen(),
}

#: Asking is most of what happens.
STEPS = st.lists(
    st.tuples(st.sampled_from([*_WHAT, "ask", "ask", "ask", "ask", "settle", "open"]), st.integers(0, 97)), max_size=45
)


def take(house: House, step: Step) -> str | None:
    """Take one step; the code of a refusal, which changed nothing. Anything else that is raised is a fault."""
    what, number = step
    before = house.state.size
    try:
        _WHAT[what](house, number)
    except (Refused, NotFound) as error:
        if house.state.size != before and what != "release":
            raise AssertionError("a refusal changed something") from error
        return error.code
    return None


def play(house: House, steps: list[Step]) -> None:
    """An agent with an open run, and then whatever comes."""
    house.register(OTHER)
    house.run(AGENT)
    for step in steps:
        take(house, step)
