"""What every test shares: one seed, printed; a deterministic hypothesis; marks that name real sub-claims.

Does not hold fixtures of one room: those stand in that room's folder.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.core
import pytest

from failwell.client import run
from tests.claims import table

ROOT = Path(__file__).resolve().parent.parent

#: Folders of tests that start processes.
LONG = ("integration", "e2e", "faults", "peers", "attacks", "data")

STEADY_SEED = 20260101
_given = os.environ.get("FAILWELL_TEST_SEED", "")
SEED = int(_given) if _given else STEADY_SEED

# Without a seed the same examples every time, so that a red test is red for everybody; with one, new ground.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("seeded", derandomize=False, deadline=None, database=None)
hypothesis.settings.load_profile("seeded" if _given else "steady")
if _given:
    hypothesis.core.global_force_seed = SEED  # type: ignore[assignment]


@pytest.fixture(scope="session", autouse=True)
def state_of_their_own() -> Generator[None, None, None]:
    """No test leaves a guard with whoever runs the tests."""
    before = os.environ.get("FAILWELL_STATE")
    with tempfile.TemporaryDirectory(prefix="failwell-state-") as directory:
        os.environ["FAILWELL_STATE"] = directory
        yield
    if before is None:
        os.environ.pop("FAILWELL_STATE", None)
    else:
        os.environ["FAILWELL_STATE"] = before


@pytest.fixture(autouse=True)
def no_run_left_open() -> Generator[None, None, None]:
    """What a test leaves of a run it entered is not the run in which the next test's tools are called."""
    before = run.CURRENT.get()
    yield
    run.CURRENT.set(before)


def pytest_report_header() -> list[str]:
    origin = "FAILWELL_TEST_SEED" if _given else "steady; FAILWELL_TEST_SEED=n for another"
    return [f"failwell seed: {SEED} ({origin}), python {sys.version.split()[0]}"]


@pytest.fixture
def seed() -> int:
    """The session's seed, for a test that draws its own randomness."""
    return SEED


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """A generator of this test's own: the same draws whichever tests run beside it."""
    node: Any = request.node
    return random.Random(f"{SEED}:{node.nodeid}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A mark that names no sub-claim shows nothing: it is a typing error, said at once.

    Files of few long tests come first: one of them begun last would have all processes but its own wait for it.
    """
    items.sort(key=lambda item: item.path.is_relative_to(ROOT) and item.path.relative_to(ROOT).parts[1] not in LONG)
    known = {claim.id for requirement in table.load(ROOT) for claim in requirement.claims}
    for item in items:
        for mark in item.iter_markers("requirement"):
            if not mark.args or set(mark.args) - known:
                raise pytest.UsageError(f"{item.nodeid}: {mark.args} is not in docs/requirements.toml")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that must run does not pass by being skipped."""
    report = yield
    if report.skipped and os.environ.get("CI") and item.get_closest_marker("ci_must_run"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} is marked ci_must_run and was skipped: {report.longrepr}"
    return report
