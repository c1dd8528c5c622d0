"""What the tests of the demonstration share: its real mail server as a process, and a shop that uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from failwell.drills.demo import shop


@contextmanager
def mail_server(directory: Path) -> Iterator[int]:
    """The demonstration's mail server; gives its port, ends it by closing its standard input."""
    process = subprocess.Popen(
        [sys.executable, "-m", "failwell.drills.demo.mailserver", str(directory)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])
        process.stdin.close()
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


@contextmanager
def open_shop(directory: Path) -> Iterator[tuple[Path, Path]]:
    """A shop and its mail server below `directory`; the current directory is the shop's, as a tool's is."""
    here, mail, before = directory / "shop", directory / "mail", Path.cwd()
    here.mkdir()
    mail.mkdir()
    with mail_server(mail) as port:
        shop.open_shop(here, port)
        os.chdir(here)
        try:
            yield here, mail
        finally:
            os.chdir(before)
