"""Fixtures around `house`: one model house per session, every test gets a copy of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulate.house import AGENTS, House, scene

_session = contextlib.ExitStack()
_model: list[House] = []


def model() -> House:
    """The session's house, built once; its directory goes with the process."""
    if not _model:
        with scene(keep=_session) as directory:
            _model.append(House.build(directory / "model", names=AGENTS))
    return _model[0]


@pytest.fixture(scope="module")
def stage() -> Iterator[Path]:
    with scene() as directory:
        yield directory


@pytest.fixture
def house(stage: Path) -> Iterator[House]:
    """A workspace of this test's own; its nodes and tools are ended with it."""
    made = model().copy(stage / f"h{len(list(stage.iterdir()))}")
    try:
        yield made
    finally:
        made.tear_down()
