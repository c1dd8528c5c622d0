"""Trees to be signed in tests: leaves by number, their heads, and the proofs that one grows from another."""

from __future__ import annotations

from failwell.core import merkle


class Tree:
    """A log of `size` leaves, whose leaf n is told apart from another history's by `history`."""

    def __init__(self, history: str = "", *, since: int = 0) -> None:
        self._history, self._since = history, since

    def leaf(self, number: int) -> bytes:
        history = self._history if number >= self._since else ""
        return merkle.leaf_hash(f"{history}{number}".encode())

    def root(self, size: int) -> bytes:
        return merkle.root_of(self.leaf(number) for number in range(size))

    def path(self, old: int, new: int) -> list[bytes]:
        return merkle.consistency_path(old, new, self._subtree)

    def _subtree(self, level: int, index: int) -> bytes:
        return merkle.root_of(self.leaf(number) for number in range(index << level, (index + 1) << level))


HONEST = Tree()
