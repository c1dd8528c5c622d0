"""What an agent's side found when it tried to reach its tools round the gate, put on record (R5, custody)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from failwell.core import kinds
from failwell.core.errors import InputError, Refused
from failwell.core.records import Draft
from failwell.core.ways import WAYS, state_of
from failwell.ledger.jobs import Job, Plan, Turn

#: Tools told of at once: as many as a contract can name, and no flood.
MOST = 1000
_LARGEST_USER = 2**32 - 1


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was tried of one tool, and what of it worked, in words of `core.custody.WAYS`."""

    tool: str
    tried: tuple[str, ...]
    ways: tuple[str, ...]


def record_probes(agent: str, uid: int, probes: Sequence[Probe]) -> Job[tuple[int, ...]]:
    """The job that records what `agent`'s side says it could do as the user `uid`; answers the entries' numbers.

    Refused for tools that its contract does not name: nobody else's custody is spoken of.
    """
    if not 0 <= uid <= _LARGEST_USER or len(probes) > MOST:
        raise InputError(f"{len(probes)} tools tried as user {uid}: that is no attempt")
    for probe in probes:
        if not probe.tried or not set(probe.ways) <= set(probe.tried) <= set(WAYS):
            raise InputError(f"{probe.tool!r}: unknown ways, or none that was tried", hint=", ".join(WAYS))

    def job(turn: Turn) -> Plan[tuple[int, ...]]:
        contract = turn.state.contract_of(agent)
        known = set() if contract is None else {tool.tool for tool in contract.tools}
        if foreign := sorted({probe.tool for probe in probes} - known):
            raise Refused(f"the contract of {agent} names no {foreign[0]}")
        drafts = tuple(
            Draft(
                body=kinds.CustodyProbed(
                    tool=probe.tool, state=state_of(probe.ways), ways=tuple(dict.fromkeys(probe.ways)),
                    tried=tuple(dict.fromkeys(probe.tried)), uid=uid,
                ),
                actor=f"agent:{agent}", agent=agent,
            )
            for probe in probes
        )  # fmt: skip
        return Plan(drafts, lambda entries: tuple(entry.seq for entry in entries))

    return job
