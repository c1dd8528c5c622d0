"""The checkpoint key of a workspace's guard, for tests that act as whoever holds it. No guard may be running."""

from __future__ import annotations

from pathlib import Path

from failwell.guard.sealing import LocalGuard
from failwell.identity import keys
from failwell.node.workspace import Workspace


def checkpoint_key(workspace: Workspace) -> keys.SigningKey:
    """The private key that signs this workspace's heads."""
    guard = LocalGuard.open(Path(workspace.guard_place()), wait_s=2.0)
    try:
        pair = guard.state().pair
    finally:
        guard.close()
    assert pair is not None
    return keys.from_seed(pair.seed)
