"""Contracts with one planted mistake each: `lint` finds it, at its line, in the words that its first line asks for.

`# mistake: LINE WORDS` is the first line of each file. And where nothing was planted, nothing is found.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from failwell.core import contract as contracts

HERE = Path(__file__).parent
PLANTED = sorted((HERE / "planted").glob("*.yaml"))
EXAMPLES = sorted((HERE.parents[3] / "examples" / "contracts").glob("*.yaml"))
TODAY = "2026-11-23"

#: Mistakes that make a second thing untrue, told at its own line.
FOLLOWS = {"clause-id-taken": "denied(over-refund) is never raised"}

#: Warnings that an example contract may keep, by (contract, what is said): why.
KEPT: dict[tuple[str, str], str] = {}


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len(PLANTED) >= 40
    bodies = [path.read_text().partition("\n")[2] for path in PLANTED]
    assert len(set(bodies)) == len(bodies)


@pytest.mark.parametrize("path", PLANTED, ids=lambda path: path.stem)
def test_each_planted_mistake_is_found_at_its_line(path: Path) -> None:
    text = path.read_text()
    planted = re.match(r"# mistake: ([0-9]+) (.+)\n", text)
    assert planted is not None
    line, words = int(planted[1]), planted[2]
    findings = contracts.lint(text, name=path.name, today=TODAY)
    found = [finding for finding in findings if finding.line == line and words in str(finding)]
    assert found, [str(finding) for finding in findings]
    assert all(finding.mend or finding.level == "error" for finding in found)
    # Nothing else is called wrong: whoever mends the one place is done.
    follows = FOLLOWS.get(path.stem)
    others = [str(one) for one in findings if one.level == "error" and one.line != line]
    assert [one for one in others if follows is None or follows not in one] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_is_found_in_our_examples(path: Path) -> None:
    findings = contracts.lint(path.read_text(), name=path.name, today=TODAY)
    assert [str(one) for one in findings if (path.stem, one.problem) not in KEPT] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_of_our_examples_go_as_expected(path: Path) -> None:
    contract, examples = contracts.load_whole(path.read_text(), name=path.name)
    assert len(examples) >= 3
    assert [tried.problem for tried in contracts.try_all(contracts.compile(contract), examples) if tried.problem] == []
