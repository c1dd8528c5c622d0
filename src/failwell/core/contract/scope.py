"""What every check of a contract needs: the contract, where to note findings, the types of its arguments."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

from failwell.core.contract.argument import Type, parse_type
from failwell.core.contract.measure import concerns
from failwell.core.contract.model import Clause, Contract, Limit, Tool
from failwell.core.contract.notes import Notes
from failwell.core.errors import InputError

MAX_TEXT_LENGTH = 2000
MAX_COUNT = 1_000_000_000
#: Most that `clause_weight` may be: about a second to prove and compile.
MAX_CLAUSE_WEIGHT = 131_072
_CLAUSE_WEIGHT = 40

NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?")
#: A person, or a team of them.
PERSON = re.compile(r"(?:team:)?[a-z0-9][a-z0-9._@-]{0,127}")

#: Argument name -> (type, optional), of one tool.
Types = dict[str, tuple[Type, bool]]
#: Where something stands in a contract: field names, and numbers in lists.
Path = tuple[str | int, ...]


class Scope:
    """One contract under check. Each subclass checks one part of it."""

    def __init__(self, contract: Contract, notes: Notes, types: dict[str, Types]) -> None:
        self.contract = contract
        self.notes = notes
        #: Types by tool and argument, as far as they could be read.
        self.types = types
        #: Types of the looked-up facts, by tool and fact.
        self.looked = {tool.tool: _looked(tool) for tool in contract.tools}

    def error(self, path: Path, problem: str, reason: str, mend: str, excerpt: str = "") -> None:
        """Note what keeps the contract from being adopted."""
        self.notes.add("error", self.notes.place(*path), problem, reason, mend, excerpt)

    def warn(self, path: Path, problem: str, reason: str, mend: str, excerpt: str = "") -> None:
        """Note where a bound is weaker than it looks."""
        self.notes.add("warning", self.notes.place(*path), problem, reason, mend, excerpt)

    def spelled(self, path: Path, what: str, text: str | None, pattern: re.Pattern[str], like: str) -> None:
        """Note a name that does not follow its pattern."""
        if text is not None and not pattern.fullmatch(text):
            self.error(
                path,
                f"{what} is not well formed.",
                "It names things in the record.",
                f"Write it like {like}.",
            )

    @staticmethod
    def bounds(rule: Clause | Limit, tool: Tool) -> bool:
        """Whether a rule speaks of `tool`."""
        return concerns(rule, tool) if isinstance(rule, Limit) else tool.tool in rule.tools


def clause_weight(clauses: Iterable[Clause]) -> int:
    """How much there is to prove, in characters: each expression once for each of its tools.

    Attack: a page of clauses that each name two hundred tools holds whoever adopts them, and every start, for minutes.
    """
    return sum((len(clause.when or "") + _CLAUSE_WEIGHT) * len(clause.tools) for clause in clauses)


def acts(tool: Tool) -> bool:
    """Whether a tool changes the world."""
    return tool.effect != "read"


def is_told_to_a_person(tool: str) -> tuple[bool, bool]:
    """Whether calling `tool` gives an output or a decision to a person, and whether it is a decision."""
    last = tool.rpartition(".")[2]
    return last in ("respond", "decide"), last == "decide"


def _looked(tool: Tool) -> dict[str, Type]:
    """The types of a tool's facts, as far as they can be read."""
    found = {}
    for ask in tool.facts:
        with contextlib.suppress(InputError):
            found[ask.name] = parse_type(ask.type)
    return found
