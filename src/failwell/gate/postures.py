"""Postures: what governs a decision, as one entry that decisions cite; written anew when any of it changed (D24)."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from failwell.core import kinds
from failwell.core.records import Draft
from failwell.ledger.jobs import Turn


class Postures:
    """The posture in force for each agent and run. Called only from the writer's thread."""

    def __init__(self, evaluator: str) -> None:
        self._evaluator = evaluator

    def in_force(self, turn: Turn, agent: str, run: int | None) -> tuple[tuple[Draft, ...], int | None]:
        """The posture entry that the next decision cites; where it has to be written first, its draft too."""
        row = turn.state.agent.get(agent)
        if row is None or row.posture is None:
            return (), None
        own = None if run is None else turn.state.run[run].posture
        newest = row.posture if own is None else own
        declared = _posture(turn, newest)
        governs = row.contract, turn.state.configuration, self._evaluator, floors_digest(turn, agent)
        if governs == (declared.contract_digest, declared.configuration, declared.evaluator, declared.floors):
            return (), newest
        wanted = wanted_posture(turn, agent, self._evaluator, declared)
        draft = Draft(body=wanted, actor="gate", agent=agent, run=None if own is None else run)
        return (draft,), turn.seq


def _posture(turn: Turn, seq: int) -> kinds.Posture:
    known = turn.state.postures.get(seq)
    if known is None:
        entry = turn.entry(seq)
        known = entry.body if entry is not None and isinstance(entry.body, kinds.Posture) else NOTHING
        turn.state.remember_posture(seq, known)
    return known


#: The posture of an agent that nothing governs.
NOTHING = kinds.Posture(
    contract=None, contract_digest=None, configuration="", baseline="absent", evaluator="", floors=None, response=None,
    model=None, prompt=None, tool_schemas=None,
)  # fmt: skip


def wanted_posture(turn: Turn, agent: str, evaluator: str, declared: kinds.Posture) -> kinds.Posture:
    """The posture that governs `agent` now, with the model, prompt and tools that `declared` names."""
    state = turn.state
    row = state.agent[agent]
    contract = None if row.contract is None else state.contract[row.contract]
    return msgspec.structs.replace(
        declared,
        contract=None if contract is None else f"{contract.id}@{contract.version}",
        contract_digest=row.contract,
        configuration=state.configuration,
        evaluator=evaluator,
        floors=floors_digest(turn, agent),
        response=row.contract,
    )


def floors_digest(turn: Turn, agent: str) -> str | None:
    """SHA-256 over the digests of the floors that bind `agent`, by name; None where there are none."""
    # From the rows: a denial because a floor cannot be read has to be written down too.
    floors = turn.state.floor_rows_of(agent)
    return sha256("".join(row.digest for _, row in floors).encode()).hexdigest() if floors else None
