"""When a sub-claim is shown: a marked test of it passes, none fails, and its mutant is caught by one of them.

Caught means that a marked test itself failed on the mutant. A mutant on which nothing can be imported or set
up is too crude to show anything, and one on which every marked test still passes has survived: neither is
caught.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.claims import mutants, runs
from tests.claims.table import Claim, Requirement, TableError


@dataclass(frozen=True)
class Judged:
    """One sub-claim's state; `open_because` is null where it is shown."""

    claim: Claim
    tests: dict[str, str]
    caught_by: str | None
    open_because: str | None

    @property
    def shown(self) -> bool:
        return self.open_because is None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.claim.id,
            "says": self.claim.says,
            "state": "shown" if self.shown else "open",
            "open_because": self.open_because,
            "tests": self.tests,
            "mutant": self.claim.mutant,
            "caught_by": self.caught_by,
        }


class Court:
    """Judges sub-claims of the tree under `root`; makes one copy for mutants when the first is needed."""

    def __init__(self, root: Path, requirements: tuple[Requirement, ...], stack: ExitStack) -> None:
        self._root = root
        self._python = Path(sys.executable)
        self._stack = stack
        self._copy: mutants.Copy | None = None
        self.mutants = mutants.load(root)
        self.marked = runs.marked(root, self._python)
        claims = {claim.id: claim for requirement in requirements for claim in requirement.claims}
        if unknown := sorted(set(self.marked) - set(claims)):
            raise TableError(f"tests are marked with unknown sub-claims: {' '.join(unknown)}")
        if orphans := sorted(set(self.mutants) - {claim.mutant for claim in claims.values()}):
            raise TableError(f"no sub-claim names the mutants {' '.join(orphans)}")

    def judge(self, claims: tuple[Claim, ...]) -> tuple[list[Judged], runs.Run]:
        """Run the marked tests of `claims` once on the sound tree, then each claim's on its mutant."""
        tests = dict.fromkeys(test for claim in claims for test in self.marked.get(claim.id, []))
        sound = runs.run(self._root, self._python, list(tests))
        return [self._judged(claim, sound) for claim in claims], sound

    def _judged(self, claim: Claim, sound: runs.Run) -> Judged:
        ended = {test: sound.ended.get(test, "never ran") for test in self.marked.get(claim.id, [])}
        if because := self._not_passing(ended):
            return Judged(claim, ended, None, because)
        mutant = self.mutants.get(claim.mutant)
        if mutant is None:
            return Judged(claim, ended, None, f"mutant {claim.mutant} is not written")
        # Quick ones first: the first failure ends the run.
        passing = sorted((test for test, how in ended.items() if how == "passed"), key=lambda test: sound.took[test])
        caught_by, because = self._try(mutant, passing)
        return Judged(claim, ended, caught_by, because)

    @staticmethod
    def _not_passing(ended: dict[str, str]) -> str | None:
        if not ended:
            return "no test"
        if bad := [f"{test} {how}" for test, how in ended.items() if how not in ("passed", "skipped")]:
            return "; ".join(bad)
        if "passed" not in ended.values():
            return "every test was skipped"
        return None

    def _try(self, mutant: mutants.Mutant, tests: list[str]) -> tuple[str | None, str | None]:
        """The test that catches `mutant`, or why none does."""
        if self._copy is None:
            self._copy = self._stack.enter_context(mutants.copy_of(self._root))
        with self._copy.with_mutant(mutant):
            result = runs.run(self._copy.root, self._copy.python, tests, first_failure=True)
        caught = next((test for test, how in result.ended.items() if how == "failed"), None)
        if caught is not None:
            return caught, None
        if not result.complete or "broke" in result.ended.values() or len(result.ended) < len(tests):
            because = next((line for line in result.output.splitlines() if line.startswith("E  ")), "")
            return None, f"mutant {mutant.name} breaks the tests' set-up, not the claim {because}".rstrip()
        return None, f"mutant {mutant.name} survives"


@contextmanager
def court(root: Path, requirements: tuple[Requirement, ...]) -> Iterator[Court]:
    """A Court whose copy is gone afterwards."""
    with ExitStack() as stack:
        yield Court(root, requirements, stack)
