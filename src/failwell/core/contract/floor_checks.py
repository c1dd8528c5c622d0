"""What keeps a contract from standing on a floor: each thing that the floor asks, held against each tool."""

from __future__ import annotations

from failwell.core.contract.argument import parse_type
from failwell.core.contract.finding import Finding
from failwell.core.contract.floor import Floor, matches, under
from failwell.core.contract.limit_checks import LimitChecks
from failwell.core.contract.model import Clause, Contract, Tool
from failwell.core.contract.notes import Notes
from failwell.core.contract.policy import compile_policy
from failwell.core.contract.scope import MAX_CLAUSE_WEIGHT, Types, acts, clause_weight


def floor_findings(contract: Contract, floor: Floor, *, notes: Notes | None = None) -> tuple[Finding, ...]:
    """What keeps a sound `contract` from standing on `floor`: errors; warnings say what the floor denies of it.

    Places come from the contract's text, if `notes` knows it.
    """
    notes = Notes("", f"{contract.contract} v{contract.version}") if notes is None else notes
    types: dict[str, Types] = {
        tool.tool: {one.name: (parse_type(one.type), one.optional) for one in tool.arguments}
        for tool in contract.tools
    }  # fmt: skip
    with notes.until_enough():
        _Stand(contract, floor, notes, types).all()
    return notes.in_order()


class _Stand(LimitChecks):
    """One contract held against one floor."""

    def __init__(self, contract: Contract, floor: Floor, notes: Notes, types: dict[str, Types]) -> None:
        super().__init__(contract, notes, types)
        self.floor = floor
        self.judged = under(contract, [floor])

    def all(self) -> None:
        weight = clause_weight(self.judged.clauses)
        if weight > MAX_CLAUSE_WEIGHT:
            reason = f"Under the floor {self.floor.floor} expressions times tools are {weight} characters."
            mend = f"At most {MAX_CLAUSE_WEIGHT} are judged: split the contract."
            self.error(("clauses",), "There are too many clauses.", reason, mend)
            return
        for number, tool in enumerate(self.contract.tools):
            self._tool(number, tool)
            self._clauses(number, tool)
        for limit in self.judged.limits[len(self.contract.limits) :]:
            self.fits(("tools",), f"limit {limit.id} of the floor", limit)

    def _tool(self, number: int, tool: Tool) -> None:
        floor = self.floor
        asks = f"The floor {floor.floor} asks it of every tool with an effect."
        if any(matches(pattern, tool.tool) for pattern in floor.never):
            reason = f"The floor {floor.floor} denies it."
            self.warn(("tools", number), f"{tool.tool} can never run.", reason, "Leave it out.")
        if not acts(tool):
            return
        if floor.witnessed and tool.witness is None:
            self.error(("tools", number), f"{tool.tool} has no witness.", asks, "Name its own log.")
        if floor.stoppable and tool.deadline_us is None:
            self.error(("tools", number), f"{tool.tool} has no deadline.", asks, "Add deadline: 10s.")
        if floor.custody and tool.custody not in floor.custody:
            reason = f"The floor {floor.floor} asks for {' or '.join(floor.custody)}."
            self.error(("tools", number), f"{tool.tool} has custody {tool.custody}.", reason, "Change who holds it.")

    def _clauses(self, number: int, tool: Tool) -> None:
        clauses: tuple[Clause, ...] = tuple(
            clause for clause in self.judged.clauses[len(self.contract.clauses) :] if tool.tool in clause.tools
        )
        looked = self.looked.get(tool.tool, {})
        _, _, unsound = compile_policy(self.contract.agent, tool.tool, clauses, self.types[tool.tool], looked)
        for clause in clauses:
            if (error := unsound.get(clause.id)) is not None:
                self.error(
                    ("tools", number),
                    f"clause {clause.id} of the floor cannot be judged for {tool.tool}.",
                    f"{error.message.rstrip('.')}.",
                    error.hint or "",
                    clause.when or "",
                )
