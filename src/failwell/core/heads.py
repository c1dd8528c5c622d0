"""Heads: one tree over how far each agent's own chain reaches, so that leaving out an agent's entry shows (D15).

A `heads` entry holds the RFC 6962 tree head over one line for each agent that has an entry, sorted by the agent's
bytes:

    spiffe://shop.example/agent/refund-bot 60 9f86d081884c7d65...     agent, count of its entries, last one's leaf (hex)

`upto` of the entry is its own number: entries 0 to upto - 1 are counted. Whoever holds the line and its inclusion proof
(RFC 9162, 2.1.3) knows how many entries of the agent there must be, and which is the last. Two neighbouring lines, or
the first or last one, show that an agent between or beyond them has none.

What a line does not show: that the log counted rightly. Who has the whole log counts again (`ledger verify` does);
who has one agent's entries relies on somebody having done so. Entries of no agent have no line: that none of them is
missing is shown by the whole log alone, whose numbers have no gap. (Who is given every line can still tell how many
there are: `upto` less the sum of the counts.)

Standard library only. Does not sign, and does not know when an entry is due (`ledger.heads`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from failwell.core.errors import Corrupt
from failwell.core.merkle import EMPTY_ROOT, leaf_hash, node_hash
from failwell.core.proof import verify_inclusion

_LEAF: Final = re.compile(r"[0-9a-f]{64}")


class Head(Protocol):
    """How far an agent's chain reaches: how many entries it has, and the leaf hash (hex) of the last."""

    @property
    def count(self) -> int: ...
    @property
    def leaf(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the agent, how many entries it has, and the leaf hash (hex) of the last."""

    agent: str
    count: int
    leaf: str

    def data(self) -> bytes:
        """The bytes of the line. Read from its end it has one meaning, whatever the agent's name holds."""
        return _data(self.agent, self.count, self.leaf)


@dataclass(frozen=True, slots=True)
class Place:
    """A line, its number among the sorted ones, and its inclusion proof from the line's side up."""

    index: int
    line: Line
    path: tuple[bytes, ...]


class HeadsTree:
    """The tree over the lines, kept up to date in O(changed * log agents) hashes; mutable, of one owner.

    A row that was seen is taken as unchanged while it is the same object: rows are frozen and replaced (`core.rows`).
    So it depends on nothing but the rows that `update` is given: after a dropped batch it follows as after any other.
    """

    __slots__ = ("_agents", "_levels", "_places", "_rows")

    def __init__(self, heads: Mapping[str, Head] | None = None) -> None:
        self._rows: dict[str, Head] = {}
        self._agents: list[str] = []
        self._places: dict[str, int] = {}
        self._levels: list[list[bytes]] = [[]]
        if heads:
            self.update(heads)

    @property
    def size(self) -> int:
        """Number of lines."""
        return len(self._agents)

    def update(self, heads: Mapping[str, Head]) -> None:
        """Stand at `heads`: agent -> how far its chain reaches."""
        rows = self._rows
        changed = {agent: row for agent, row in heads.items() if rows.get(agent) is not row}
        if len(heads) != len(rows) or any(agent not in rows for agent in changed):
            self._lay(heads, changed)
        elif changed:
            self._touch(changed)

    def root(self) -> bytes:
        """The tree head over all lines; that of the empty tree while there are none."""
        return self._levels[-1][0] if self._agents else EMPTY_ROOT

    def prove(self, agent: str) -> tuple[Place, ...]:
        """What shows how far `agent` reaches: its own line; where it has none, the lines that leave no room for one."""
        index = self._places.get(agent)
        if index is not None:
            return (self._place(index),)
        beyond = sum(other < agent for other in self._agents)
        return tuple(self._place(index) for index in (beyond - 1, beyond) if 0 <= index < self.size)

    def _place(self, index: int) -> Place:
        agent = self._agents[index]
        row = self._rows[agent]
        path, at = [], index
        for level in self._levels[:-1]:
            if at ^ 1 < len(level):  # the last one of an odd level has no sibling: it is its own parent
                path.append(level[at ^ 1])
            at >>= 1
        return Place(index, Line(agent, row.count, row.leaf), tuple(path))

    def _lay(self, heads: Mapping[str, Head], changed: Mapping[str, Head]) -> None:
        """Lay the whole tree anew, as an agent came or went; only changed lines are hashed again."""
        known = self._levels[0]
        leaves = {
            agent: _leaf(agent, heads[agent]) if agent in changed else known[self._places[agent]]
            # Order: by code point, which for UTF-8 is the order of the bytes.
            for agent in sorted(heads)
        }
        self._rows = dict(heads)
        self._agents = list(leaves)
        self._places = {agent: index for index, agent in enumerate(self._agents)}
        self._levels = [list(leaves.values())]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            above = [
                sha256(b"\x01" + left + right).digest() for left, right in zip(below[::2], below[1::2], strict=False)
            ]
            self._levels.append([*above, below[-1]] if len(below) & 1 else above)

    def _touch(self, changed: Mapping[str, Head]) -> None:
        """Hash the changed lines and what stands above them, each node once."""
        self._rows.update(changed)
        dirty: Iterable[int] = [self._places[agent] for agent in changed]
        for index, (agent, row) in zip(dirty, changed.items(), strict=True):
            self._levels[0][index] = _leaf(agent, row)
        for below, above in zip(self._levels, self._levels[1:], strict=False):
            dirty = {index >> 1 for index in dirty}
            for index in dirty:
                pair = below[2 * index : 2 * index + 2]
                above[index] = node_hash(*pair) if len(pair) == 2 else pair[0]


def _data(agent: str, count: int, leaf: str) -> bytes:
    return f"{agent} {count} {leaf}".encode()


def _leaf(agent: str, row: Head) -> bytes:
    return leaf_hash(_data(agent, row.count, row.leaf))


def heads_root(heads: Mapping[str, Head]) -> bytes:
    """The tree head over the lines of `heads`, in one go."""
    return HeadsTree(heads).root()


def verify_places(agent: str, places: Sequence[Place], agents: int, root: bytes) -> Line | None:
    """Show how far `agent` reaches by a tree of `agents` lines with head `root`: its line, or None if it has no entry.

    `agents` and `root` come from one `heads` entry; a path alone would fit trees of several sizes.
    Raises Corrupt (code "heads") for lines that are not in the tree, and for lines that show neither.
    """
    for place in places:
        line = place.line
        if type(line.count) is not int or line.count < 1 or not _LEAF.fullmatch(line.leaf):
            raise Corrupt("a line has no count or leaf", code="heads")
        try:
            verify_inclusion(leaf_hash(line.data()), place.index, agents, place.path, root)
        except Corrupt as error:
            raise Corrupt(
                f"the line of {line.agent} is not in the tree of heads: {error.message}", code="heads"
            ) from error
    if len(places) == 1 and places[0].line.agent == agent:
        return places[0].line
    if _leave_no_room(agent, places, agents, root):
        return None
    raise Corrupt(f"the lines given show neither how far {agent} reaches nor that it has no entry", code="heads")


def _leave_no_room(agent: str, places: Sequence[Place], agents: int, root: bytes) -> bool:
    """Whether sorted lines have no room for one of `agent`: beyond an edge, between neighbours, or in an empty tree."""
    if agents == 0:
        return not places and root == EMPTY_ROOT
    before = [place for place in places if place.line.agent < agent]
    after = [place for place in places if place.line.agent > agent]
    if len(before) > 1 or len(after) > 1:
        return False
    # A line of the agent itself would stand between the two, and they would be no neighbours.
    last = before[0].index if before else -1
    first = after[0].index if after else agents
    return first == last + 1
