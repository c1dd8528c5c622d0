"""Where a guard keeps its memory: outside of the workspace, so that who restores the one has not restored the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def place_of(origin: str, environ: Mapping[str, str], home: Path | None = None) -> Path:
    """The directory of the guard of log `origin`: $FAILWELL_STATE, else $XDG_STATE_HOME/failwell, else
    ~/.local/state/failwell; in it guards/ and the part of the origin that is its own. It is not made here.

    Source: XDG Base Directory Specification (a relative XDG_STATE_HOME is to be ignored).
    """
    own, base = environ.get("FAILWELL_STATE", ""), environ.get("XDG_STATE_HOME", "")
    if own:
        root = Path(own).absolute()
    elif base.startswith("/"):
        root = Path(base) / "failwell"
    else:
        root = (Path.home() if home is None else home) / ".local" / "state" / "failwell"
    return root / "guards" / origin.rpartition("/")[2]
