"""Looks at the world after an act: what a check asks, when it is over, and how it ended, on record (D23, R5).

A check is owed from the outcome that says its act was done (`core.owing`). Who asks and how often is the node's.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from failwell.core import canonical, kinds, owing, rows
from failwell.core.contract import Ensure
from failwell.core.fact_keys import key_of
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment

MAX_DETAIL = 200
#: Checks that one job tells of. Attack: acts without end that owe one, and a stop that waits while all their arguments
#: are unsealed in one turn of the writer.
TOLD_AT_ONCE = 256


class Owing(msgspec.Struct, frozen=True, kw_only=True):
    """A check that is owed: whom to ask what, and what has to come back.

    `arguments` None: what it would be asked with is not there any more, so nobody can be asked. `left_us` is the time
    that is left, negative when it is over.
    """

    key: str
    agent: str
    ensure: Ensure
    arguments: dict[str, Any] | None
    left_us: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How a check ended: held, missed or unknown. `saw` is the newest answer, None where there was none."""

    state: str
    tries: int
    saw: Any = None
    answered: bool = False
    detail: str = ""


def owed_besides(known: frozenset[str]) -> Job[tuple[Owing, ...]]:
    """The job that tells of some checks that are owed and not among the known ones. It writes nothing."""

    def job(turn: Turn) -> Plan[tuple[Owing, ...]]:
        new = islice(((key, row) for key, row in turn.state.check.items() if key not in known), TOLD_AT_ONCE)
        found = tuple(_owing(turn, key, row) for key, row in new)
        return Plan((), lambda _: tuple(each for each in found if each is not None))

    return job


def _owing(turn: Turn, key: str, row: rows.Check) -> Owing | None:
    name = row.name.rpartition("/")[2]
    ensures = owing.ensures_of(turn.state, row.contract, row.tool)
    ensure = next((each for each in ensures if each.name == name), None)
    if ensure is None:
        return None
    return Owing(
        key=key, agent=row.agent, ensure=ensure, arguments=_arguments(turn, row.decision, ensure),
        left_us=row.due_us - turn.now_us,
    )  # fmt: skip


def _arguments(turn: Turn, decision: int, ensure: Ensure) -> dict[str, Any] | None:
    """The values that the act was decided on, of those arguments that the contract hands the source."""
    entry, secret = turn.entry(decision), turn.secret(decision)
    if entry is None or secret is None or not isinstance(entry.body, kinds.Decision):
        return None
    values = {key: fact.value if fact.public else secret["facts"].get(key) for key, fact in entry.body.facts.items()}
    return {name: values.get(key_of(name)) for name in ensure.given}


def end_check(key: str, seen: Seen) -> Job[int | None]:
    """The job that records how a check ended; answers the entry, or None where it may not end so (yet).

    It holds at any time. That it was missed, or that nobody can say, is said only when its time is over.
    """

    def job(turn: Turn) -> Plan[int | None]:
        row = turn.state.check.get(key)
        if row is None or (seen.state != "held" and turn.now_us < row.due_us):
            return Plan((), lambda _: None)
        ensure = next(
            each
            for each in owing.ensures_of(turn.state, row.contract, row.tool)
            if each.name == row.name.rpartition("/")[2]
        )
        saw = secret = None
        if seen.answered:
            salt, text = turn.entropy(16), canonical.jcs(seen.saw)
            saw, secret = commitment(salt, text), {"saw": text.decode(), "salt": salt.hex()}
        body = kinds.Ensured(
            decision=row.decision, check=row.name, state=seen.state, severity=row.severity, source=ensure.lookup,
            tries=seen.tries, elapsed_us=max(0, turn.now_us - row.since_us), saw=saw, detail=seen.detail[:MAX_DETAIL],
        )  # fmt: skip
        draft = Draft(body=body, actor="node", agent=row.agent, refs=(row.decision,), secret=secret)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job
