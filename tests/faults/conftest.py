"""Where the faults' tests put their disks: in memory, since what is tried is what is on them and not how fast."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def ram(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one, else an ordinary one."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(prefix="failwell-faults-", dir=MEMORY))
    yield place
    shutil.rmtree(place)
