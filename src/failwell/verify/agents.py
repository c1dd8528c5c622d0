"""Each agent's own chain: its entries count up without a gap, each names the one before it, and `heads` entries hold
the root over how far all of them reach (D15, `core.heads`).

Standard library only. Memory: one row per agent. Only the envelope is read, so it holds whatever the bodies say.
"""

from __future__ import annotations

from typing import Any

from failwell.core.heads import HeadsTree
from failwell.verify.envelope import Envelope
from failwell.verify.finding import COUNTS, SEQUENCE, Findings


class Reach:
    """How far an agent's chain reaches: how many entries it has, and the last one's number and leaf. Never changed."""

    __slots__ = ("count", "digest", "last")

    def __init__(self, count: int, last: int, digest: bytes) -> None:
        self.count = count
        self.last = last
        self.digest = digest

    @property
    def leaf(self) -> str:
        """The leaf in hex, as a line of `core.heads` holds it."""
        return self.digest.hex()


class Agents:
    """Takes the entries that bear an agent in order."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._reached: dict[str, tuple[int, int, bytes]] = {}
        self._heads: dict[str, Reach] = {}
        #: Roots over all heads that were computed again.
        self.counted = 0
        self._tree = HeadsTree()
        #: Newest entry that is missing or unreadable (-2: none is). It may have been any agent's.
        self._gap = -2

    def pass_over(self, seq: int) -> None:
        """Say that entry `seq`, and maybe others before it, is missing or unreadable, which is a finding already."""
        self._gap = seq

    def take(self, entry: Envelope, seq: int, leaf: bytes) -> None:
        """Hold one entry, which stands at `seq`, against the head of its agent's chain."""
        agent = entry.agent
        if agent is None:
            if entry.aseq is not None or entry.aprev is not None:
                self._findings.add(SEQUENCE, "entry.agent", f"entry {seq} counts for no agent", entry=seq)
            return
        reached = self._reached.get(agent)
        count, last = (0, None) if reached is None else reached[:2]
        aseq = entry.aseq
        if aseq != count or entry.aprev != last:
            aseq = self._disagrees(entry, seq, count, -1 if last is None else last)
        self._reached[agent] = aseq + 1, seq, leaf

    @property
    def heads(self) -> dict[str, Reach]:
        """How far each agent's chain reaches. A row is replaced when it changes and stays the same object otherwise."""
        heads = self._heads
        for agent, reached in self._reached.items():
            head = heads.get(agent)
            if head is None or head.last != reached[1]:
                heads[agent] = Reach(*reached)
        return heads

    def _disagrees(self, entry: Envelope, seq: int, count: int, last: int) -> int:
        """The number to go on from. What an entry that cannot be read counted is not held against the next one."""
        if last > self._gap or entry.aseq is None or entry.aseq < count:
            self._findings.add(
                SEQUENCE, "entry.agent", entry=seq, first=min(seq, last + 1), last=seq,
                message=f"entry {seq} is number {entry.aseq} of {entry.agent} after entry {entry.aprev}, "
                f"but {count} of its entries stand before it, the last being {None if last < 0 else last}",
            )  # fmt: skip
        return count if entry.aseq is None else entry.aseq

    def count(self, seq: int, body: Any) -> None:
        """Hold a `heads` entry, which stands at `seq`, against the chains as they are before it."""
        if self._gap >= 0:
            why = f"entry {self._gap} cannot be read, so no agent's count is known after it"
            self._findings.uncheckable(COUNTS, why)
            return
        self.counted += 1
        self._tree.update(self.heads)
        if (body.upto, body.agents, body.root) != (seq, self._tree.size, self._tree.root().hex()):
            message = f"entry {seq} does not count the entries of {self._tree.size} agents as they stand before it"
            self._findings.add(COUNTS, "heads.root", message, entry=seq, first=0, last=seq)
