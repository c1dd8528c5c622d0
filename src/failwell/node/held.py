"""What makes a process the node of a workspace, for as long as it is: the writer's lock, and its heartbeat.

The lock is taken first and let go of last. Whoever stands by looks at both (`node.takeover`).
"""

from __future__ import annotations

import asyncio

from failwell.core.records import Draft
from failwell.node import heartbeat
from failwell.node.heartbeat import Heart
from failwell.node.takeover import Taken
from failwell.node.workspace import Lock, Workspace


class Held:
    """A workspace, held. Raises Unhealthy where another node holds it."""

    def __init__(self, workspace: Workspace, taken: Taken | None) -> None:
        self._taken = taken
        self._lock = Lock(workspace) if taken is None else taken.lock
        #: A node that cannot even start tells whoever started it; after a takeover others may stand by that can.
        self._on_purpose = taken is None
        self._beating: asyncio.Task[None] | None = None
        try:
            self._heart = Heart(workspace.runtime)
        except BaseException:
            self._lock.release()
            raise

    def drafts(self) -> tuple[Draft, ...]:
        """What the record is told of how it came here."""
        return () if self._taken is None else (self._taken.draft(),)

    def serve(self) -> None:
        """It answers from now on: the loop that does so beats."""
        self._beating = asyncio.get_running_loop().create_task(self._heart.keep_beating())

    def end(self, *, on_purpose: bool | None = None) -> None:
        """It ends: on purpose, or since it can record nothing and makes room for one that can."""
        if self._beating is not None:
            self._beating.cancel()
        if on_purpose is not None:
            self._on_purpose = on_purpose
        self._heart.beat(heartbeat.ENDING)

    def release(self) -> None:
        """Give the workspace free. The beat goes before the lock: free and without a beat is an end on purpose."""
        self._heart.stop(on_purpose=self._on_purpose)
        self._lock.release()
