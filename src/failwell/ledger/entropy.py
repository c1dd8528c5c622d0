"""Random bytes for keys, nonces and salts: the system's own, fetched many at once and handed out each once.

Asking the system for each gives the interpreter away, several times an entry, and the writer waits to get it back.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable

#: Fetched at once; what is handed out is erased here, so that a blob's key is not kept beside it.
POOL_BYTES = 4096


class Entropy:
    """`entropy(n)` gives n random bytes. Thread-safe; a forked process draws its own."""

    def __init__(self, source: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._pool = bytearray()
        self._owner = os.getpid()

    def __call__(self, count: int) -> bytes:
        with self._lock:
            # Attack: a process forked from this one has the same pool, and uses a nonce or a key a second time.
            if len(self._pool) < count or self._owner != os.getpid():
                self._pool = bytearray(self._source(max(count, POOL_BYTES)))
                self._owner = os.getpid()
            start = len(self._pool) - count
            taken = bytes(self._pool[start:])
            self._pool[start:] = bytes(count)
            del self._pool[start:]
            return taken
