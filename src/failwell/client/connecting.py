"""`connect`: to the node of a workspace here, which is started where none answers, or to a door elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from failwell.client.gate import Gate
from failwell.client.remote import connect_remote
from failwell.client.wire import reach
from failwell.identity import names
from failwell.node.workspace import find_workspace


def connect(
    workspace: str | os.PathLike[str] | None = None, *, ca_file: str | os.PathLike[str] | None = None
) -> Gate:  # fmt: skip
    """Connect to the node of a workspace, starting one if none answers; or to the HTTP door of one elsewhere.

    `workspace`: its directory; by default $FAILWELL_WORKSPACE, else the nearest from here upwards; or a door's address,
    https://NAME:PORT, where `ca_file` (PEM) says whom to trust. Raises NotFound without a workspace, Unreachable when
    no node can be started, or no door answers.
    """
    if isinstance(workspace, str) and workspace.startswith(("http://", "https://")):
        return connect_remote(workspace, ca_file)
    found = find_workspace(None if workspace is None else os.fspath(workspace), os.environ, Path.cwd())
    return Gate(reach(found.socket, found.path), names.config_directory(os.environ, Path.home()), found.path)
