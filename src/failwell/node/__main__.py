"""`python -m failwell.node --workspace DIR`: the node process itself, as clients start it on demand.

It detaches nothing and prints one line when it is ready; `failwell serve` runs the same in the foreground.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from failwell.core.errors import FailwellError
from failwell.node.service import Node
from failwell.node.takeover import Taken
from failwell.node.workspace import Workspace

#: The switch interval of the interpreter: the door must get its turn while the writer works (default 5 ms).
SWITCH_S = 0.001


def run(
    workspace: Path, *, idle_s: int | None, ready: Callable[[FailwellError | None], None], served: bool = False,
    http: str | None = None, taken: Taken | None = None,
) -> None:  # fmt: skip
    """Run a node until it is told to stop or has been idle; `ready` is called when its socket answers, with why it
    permits nothing (None where it does). `served`: an operator runs it by hand, and not a client on demand. `http`: the
    address of its HTTP door, before what the settings say. `taken`: the place of another node, which it takes.

    Raises FailwellError when it cannot start.
    """
    sys.setswitchinterval(SWITCH_S)
    node = Node(Workspace(workspace), owns_process=True, served=served, taken=taken)
    node.duties.web.listen = http

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, node.stop)
        await node.serve(idle_s=idle_s, ready=begun)

    def begun() -> None:
        # What is in memory by now stays there. Looked through for garbage again and again, it would hold up for tens of
        # milliseconds whatever comes just then, a stop too.
        gc.collect()
        gc.freeze()
        ready(node.writer.read_only or node.writer.barred)

    try:
        asyncio.run(main())
    finally:
        node.close("stopped")


def _say_ready(closed: FailwellError | None) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def main() -> int:
    """Command line of the node process."""
    parser = argparse.ArgumentParser(prog="python -m failwell.node", description=__doc__)
    parser.add_argument("--workspace", required=True, type=Path)
    parser.add_argument("--idle-s", type=int, default=None)
    given = parser.parse_args()
    try:
        run(given.workspace, idle_s=given.idle_s, ready=_say_ready)
    except FailwellError as error:
        sys.stderr.write(f"{error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
