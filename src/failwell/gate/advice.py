"""What to do about each denial that no clause of a contract spoke: one sentence for whoever hears it.

A clause of a contract says itself what would pass (`core.contract.explain`). These speak of what stands around it: who
asks, in which run, and whether anybody may act at all. They promise nothing: what is asked again is judged anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from failwell.core.contract import STOPPED, UNHEALTHY

#: By the clause that spoke.
ADVICE: dict[str, str] = {
    "agent.unknown": "A person registers it first: failwell agent register",
    "agent.detect-only": "Nothing that goes through a gate is its own: register the agent that stands behind one.",
    "run.unknown": "Open a run of this agent for it: gate.run(agent=...). A closed one cannot be used again.",
    "contract.absent": "Two persons adopt one: failwell contract sign, then failwell contract adopt",
    "contract.valid": "Two persons adopt one that is in force: failwell contract sign, then failwell contract adopt",
    "authority.suspended": "Why it is suspended, and what its release takes: failwell incident list",
    "authority.retired": "It acts no more; its work goes to another agent.",
    "authority.registered": "A person puts it to work: failwell agent list shows what it lacks.",
    "authority.unregistered": "A person registers it first: failwell agent register",
    "authority.unknown": "A person looks at it: failwell agent list, then failwell doctor",
    "authority.observed": "Two persons adopt a contract for it: failwell contract sign, then failwell contract adopt",
    "call.reused": "A call id is one action's for ever: use a new one.",
    "ticket": "Leave the ticket out, and the action is judged, and asked about, anew.",
    "tool.unlisted": "What its contract lists: failwell contract explain. Another tool takes a new version of it.",
    "tool.changed": "A person looks at what changed, and accepts it or does not: failwell gateway pin",
    "principal": "The run names on whose behalf it works: gate.run(agent=..., principal=...).",
    "facts": "It was not the arguments: a source that the gate asks did not answer. failwell doctor",
    "delegation": "Whoever handed the work over may not do this either: failwell contract explain",
    "evaluation.error": "The contract cannot be judged by, which its owner mends: failwell contract test",
    UNHEALTHY: "Nothing is allowed until it is mended: failwell doctor",
    STOPPED: "What is stopped, and what its lifting takes: failwell stop list",
}


def advice(clauses: Iterable[str]) -> str | None:
    """What to do about these clauses; None where they say it themselves."""
    # A clause of whoever handed the work over has that one's name before it.
    found = dict.fromkeys(ADVICE.get(clause.rpartition("/")[2]) for clause in clauses)
    return " ".join(words if words.endswith(".") else f"{words}." for words in found if words) or None
