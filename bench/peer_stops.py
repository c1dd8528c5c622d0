"""What the peers' sides of `bench.stopping` have in common: one stop of a family, measured; one line of JSON.

Runs on the peers' Python; standard library only.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from family import SETTLE_S, Watched


def in_folder(
    rounds: int, once: Callable[[Path], tuple[float, Watched]], after: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Stop so many families. `once` starts one in a folder of its own, orders its stop, and gives when and what;
    `after` is called when the stop has been watched.

    `group_*` is until the tool and the child in its process group are gone, `all_*` until nothing of it runs (absent
    where that did not come about by itself).
    """
    group, everything, left = [], [], set()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="failwell-bench-") as name:
            ordered, watched = once(Path(name))
            try:
                gone = watched.await_gone(("itself", "child"))
                if gone is not None:
                    group.append((gone - ordered) * 1000)
                rest = watched.await_gone(within_s=SETTLE_S)
                if rest is not None:
                    everything.append((rest - ordered) * 1000)
                left.update(watched.left())
                after()
            finally:
                watched.close()
    found: dict[str, Any] = {"rounds": rounds, "left": sorted(left)}
    for name, took in (("group", group), ("all", everything)):
        if len(took) == rounds:
            found[f"{name}_p50_ms"], found[f"{name}_max_ms"] = statistics.median(took), max(took)
    return found


def tell(peer: str, rows: list[dict[str, Any]]) -> None:
    """Give the measured rows to whoever started this."""
    print(json.dumps({"peer": peer, "rows": rows}))
