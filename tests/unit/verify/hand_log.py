"""Logs of several agents, made by hand, and what is handed out of them: honestly here, and otherwise by the attacks.

The extracts are made by code of the tests' own: what the product hands out is held against it elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from failwell.core import merkle
from failwell.core.errors import InputError
from failwell.core.extract import Extract
from failwell.core.heads import HeadsTree
from failwell.identity import keys
from failwell.verify.anchors import Anchor
from failwell.verify.envelope import CONTINUED, LOG_KEY, Decode
from failwell.verify.extract import verify_extract
from failwell.verify.extract_report import ExtractReport
from tests.unit.verify.logs import Log, Pair, decode


def bot(name: str) -> str:
    return f"spiffe://shop.example/agent/{name}"


A, B, C = bot("a"), bot("b"), bot("c")


class Reach(NamedTuple):
    """How far an agent's chain reaches (`core.heads.Head`)."""

    count: int  # type: ignore[assignment]
    leaf: str


class HandLog(Log):
    """A log whose agents are counted."""

    def act(self, agent: str, text: str = "", refs: Iterable[int] = ()) -> int:
        """One entry of an agent, which cites others; its number."""
        cited = [[self.origin, seq, self.leaf(seq)] for seq in refs]
        return self.add("run.closed", agent=agent, envelope={"refs": cited}, reason=text)

    def note(self, text: str) -> int:
        """One entry of no agent."""
        return self.add("health", part="test", state="ok", detail=text)

    def stop(self) -> int:
        return self.add("node.stopped", reason="asked to")

    def reach(self, size: int) -> dict[str, Any]:
        """How far each agent's chain reaches in the first `size` entries."""
        found: dict[str, Any] = {}
        for seq, entry in enumerate(self.entries[:size]):
            agent = entry["agent"]
            if agent is not None:
                count = found[agent].count + 1 if agent in found else 1
                found[agent] = Reach(count, self.leaf(seq))
        return found

    def count(self, **change: Any) -> int:
        """A heads entry, but for what `change` says."""
        tree = HeadsTree(self.reach(self.size))
        return self.add("heads", **{"root": tree.root().hex(), "agents": tree.size, "upto": self.size, **change})

    def leaf(self, seq: int) -> str:
        return merkle.leaf_hash(self.data[seq]).hex()

    def node(self, level: int, index: int) -> bytes:
        return merkle.root_of(merkle.leaf_hash(data) for data in self.data[index << level : index + 1 << level])

    def of(self, agent: str, size: int | None = None) -> list[int]:
        """The numbers of an agent's entries."""
        return [seq for seq, entry in enumerate(self.entries[:size]) if entry["agent"] == agent]

    def heads(self, size: int | None = None) -> list[int]:
        return [seq for seq, entry in enumerate(self.entries[:size]) if entry["kind"] == "heads"]

    def head(self, size: int | None = None, by: Pair | None = None) -> bytes:
        """The checkpoint over `size` entries (all), signed with the key in force at the end."""
        return self.sign(self.size if size is None else size, self.pair if by is None else by)

    def extract(
        self, agent: str, *, size: int | None = None, heads: int | None = None, others: Iterable[int] = (),
        sizes: tuple[int, ...] = (), by: Pair | None = None,
    ) -> Extract:  # fmt: skip
        """An honest extract under the checkpoint over `size` entries (all), by heads entry `heads` (the newest)."""
        size = self.size if size is None else size
        heads = self.heads(size)[-1] if heads is None else heads
        wanted = {0, heads, *others, *self.of(agent, size)}
        wanted |= {seq for seq, entry in enumerate(self.entries[:size]) if entry["kind"] in (LOG_KEY, CONTINUED)}
        places = HeadsTree(self.reach(heads)).prove(agent)
        entries = tuple((seq, self.data[seq]) for seq in sorted(wanted))
        return tidy(Extract(agent, self.head(size, by), entries, (heads, places), {}, sizes), size, self.node)


def tidy(extract: Extract, size: int, node: Callable[[int, int], bytes]) -> Extract:
    """The same with exactly the tree hashes that its proofs need, where a tree of `size` has such proofs."""
    nodes: dict[tuple[int, int], bytes] = {}

    def get(level: int, index: int) -> bytes:
        nodes[level, index] = node(level, index)
        return nodes[level, index]

    for seq, _ in extract.entries:
        with suppress(KeyError, InputError):
            merkle.inclusion_path(seq, size, get)
    for old in extract.consistent_with:
        with suppress(KeyError, InputError):
            merkle.consistency_path(old, size, get)
    return Extract(extract.agent, extract.checkpoint, extract.entries, extract.heads, nodes, extract.consistent_with)


def verify(
    extract: Extract | bytes, key: str, *kept: bytes, agent: str | None = None, decode: Decode[Any] = decode
) -> ExtractReport:  # fmt: skip
    data = extract.encode() if isinstance(extract, Extract) else extract
    anchors = [Anchor(f"checkpoint {number}", each) for number, each in enumerate(kept)]
    return verify_extract(data, decode=decode, verify=keys.verify, log_key=key, kept=anchors, agent=agent)


def shop(turns: int = 6, origin: str = "failwell/aaaaaaaaaaaaaaaa", seed: int = 1) -> HandLog:
    """Three agents in turn, who cite each other; counted in the middle and at the end, then closed."""
    log = HandLog(Pair(seed, origin), origin)
    for number in range(turns):
        first = log.act(A, f"a {number}")
        second = log.act(B, f"b {number}", [first])
        if number % 2:
            log.act(C, f"c {number}")
        log.note(str(number))
        log.act(A, f"a again {number}", [second])
        if number == turns // 2:
            log.count()
    log.count()
    log.stop()
    return log
