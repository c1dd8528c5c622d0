"""Attack on a stop: something answers at the node's socket, a byte at a time, so that it is never called silent."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.client.wire import Wire
from failwell.core.errors import Unreachable


@pytest.fixture
def dripping(tmp_path: Path) -> Iterator[Path]:
    path, over = tmp_path / "node.sock", threading.Event()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as caller:
            caller.sendall((1 << 20).to_bytes(4, "big"))
            for _ in range(100):
                if over.wait(0.05):
                    return
                caller.sendall(b" ")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path
    over.set()
    listener.close()
    thread.join(5)


def test_a_greeting_that_comes_a_byte_at_a_time_is_no_answer(dripping: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable) as refused:
        Wire(dripping, timeout_s=0.3)
    assert refused.value.code == "silent"
    assert time.monotonic() - began < 3
