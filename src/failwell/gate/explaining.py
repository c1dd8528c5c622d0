"""Why the agent says it did what it did, given afterwards: its own word, recorded as such (D24)."""

from __future__ import annotations

from failwell.core import kinds
from failwell.core.errors import Refused
from failwell.core.records import Draft
from failwell.gate.fitting import cut_reason
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment

_SALT_BYTES = 16


def explain(agent: str, action: int, reason: str) -> Job[int]:
    """The job that records why the agent says it did what was decided at entry `action`; answers its number.

    Refused where there is no such decision of this agent.
    """

    def job(turn: Turn) -> Plan[int]:
        decided = turn.entry(action)
        if decided is None or not isinstance(decided.body, kinds.Decision) or decided.agent != agent:
            raise Refused(f"entry {action} is no decision about {agent}")
        salt, text = turn.entropy(_SALT_BYTES), cut_reason(reason)
        draft = Draft(
            body=kinds.ReasonGiven(decision=action, reason=commitment(salt, text)), actor=f"agent:{agent}",
            agent=agent, run=decided.run, refs=(action,), secret={"reason": text.decode(), "salt": salt.hex()},
        )  # fmt: skip
        return Plan((draft,), lambda entries: entries[0].seq)

    return job
