"""The environment of a process that the node starts for others: what is declared for it, and little else."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: The only variables of the node's own environment that a tool inherits: no secret passes by accident.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


def inherited(declared: Mapping[str, str]) -> dict[str, str]:
    """A whole environment."""
    return {**{name: os.environ[name] for name in INHERITED if name in os.environ}, **declared}
