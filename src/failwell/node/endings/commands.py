"""An operator's command about an action that is to stop: its resource is told of the fence, or asked if it goes on.

It runs as tools do, under a supervisor of its own: with nothing in its environment but what it is told and what the
settings give it, and dead as a whole at its deadline. What it prints is read by nobody.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from failwell.core import canonical
from failwell.core.errors import FailwellError
from failwell.node.settings import ToolSettings
from failwell.node.surroundings import inherited
from failwell.ports.executor import Ended, Executor, Launch

#: Launches of ours are numbered from here down: an action is named by its entry, and lookups count down from -1.
_FIRST = -1_000_000_000
#: How long beyond its deadline it may take to hear that nothing of a command is left: the bounds of a sweep, and some.
_STOP_BOUND_S = 15.0


class Commands:
    """Runs them. `marker_prefix` stands before the action's number in FAILWELL_ACTION; `place` is the workspace."""

    def __init__(self, executor: Executor, marker_prefix: str, place: Path) -> None:
        self._executor = executor
        self._marker_prefix = marker_prefix
        self._place = place
        self._numbers = itertools.count(_FIRST, -1)

    def run(
        self, command: tuple[str, ...], settings: ToolSettings, told: Mapping[str, Any], within_us: int
    ) -> int | str:  # fmt: skip
        """Its exit code, or why it has none. `told` (action, tool, agent, epoch and more) is on its input as JSON."""
        action = int(told["action"])
        marker = f"{self._marker_prefix}{action}"
        env = {
            **settings.env, "FAILWELL_AGENT": str(told["agent"]), "FAILWELL_TOOL": str(told["tool"]),
            "FAILWELL_EPOCH": str(told["epoch"]),
        }  # fmt: skip
        launch = Launch(
            # Not the agent's: an order that stops an agent's tools must not stop what stops them.
            action=next(self._numbers), agent="fence", tool=str(told["tool"]), command=command,
            cwd=settings.cwd or str(self._place), env=inherited(env),
            stdin=canonical.jcs({**told, "marker": marker}), deadline_us=within_us, output_cap_bytes=4096,
            # The action's own, so that the resource is told by the name that its tool was started under.
            marker=marker,
        )  # fmt: skip
        over = threading.Event()
        ends: list[Ended] = []

        def ended(end: Ended) -> None:
            ends.append(end)
            over.set()

        try:
            self._executor.launch(launch, ended)
        except FailwellError as error:
            return f"could not be run: {error.message}"
        over.wait(within_us / 1_000_000 + _STOP_BOUND_S)
        return _answer(ends[0] if ends else None)


def _answer(end: Ended | None) -> int | str:
    if end is None:
        return "is not known to have ended: its supervisor does not answer"
    if end.state in ("completed", "failed") and end.exit_code is not None:
        return end.exit_code
    if end.why == "deadline":
        return "gave no answer in its time"
    return f"gave no answer: {end.why or end.state}"[:200]
