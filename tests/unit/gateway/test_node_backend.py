"""Pushes of one connection, told apart: what is said of a call reaches the session that made it and no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from failwell.gateway.backend import Progress
from failwell.gateway.node_backend import NodeLine


class Heard:
    """A session that notes what it hears."""

    def __init__(self) -> None:
        self.progressed: list[tuple[str, float]] = []

    def progress(self, call: str, told: Progress) -> None:
        self.progressed.append((call, told.progress))

    def listed(self) -> None: ...

    def ended(self, upstream: str, why: str) -> None: ...


@pytest.mark.requirement("R3.31")
def test_progress_reaches_no_other_session_whose_client_numbers_its_calls_alike() -> None:
    line = NodeLine(cast("Any", SimpleNamespace(on_push=None)))
    one, other = Heard(), Heard()
    with line.following(1, "call", one), line.following(2, "call", other):
        line.pushed({"push": "progress", "run": 1, "call": "call", "progress": 0.5, "total": None, "message": "Anna"})
    assert (one.progressed, other.progressed) == ([("call", 0.5)], [])
