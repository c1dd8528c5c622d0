"""A file system whose server never answers (/dev/fuse): who asks it for a file waits in the kernel, also when killed.

As root only. It says hello, as FUSE asks for, reads each further question, and says nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import tempfile
import threading
from collections.abc import Iterator

import pytest

HEADER = struct.Struct("<IIQQIIII")
HELLO = struct.Struct("<IIIIHHIIHH32x")
INIT, MNT_FORCE, MNT_DETACH = 26, 1, 2


@contextlib.contextmanager
def silent_file() -> Iterator[str]:
    """Give the path of a file that nobody ever answers for; all who wait for it are let go at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    directory = tempfile.mkdtemp(prefix="failwell-silent-")
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        os.rmdir(directory)
        pytest.skip(f"no FUSE here: {error.strerror}")
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    mounted = libc.mount(b"silent", directory.encode(), b"fuse", ctypes.c_ulong(0), options) == 0
    listener = threading.Thread(target=_say_hello_and_listen, args=(device,))
    try:
        if not mounted:
            pytest.skip(f"no FUSE can be mounted: {os.strerror(ctypes.get_errno())}")
        listener.start()
        yield f"{directory}/never"
    finally:
        if mounted:
            # By force: the kernel ends whatever waits for an answer, and our listener too.
            libc.umount2(directory.encode(), MNT_FORCE)
            libc.umount2(directory.encode(), MNT_DETACH)
        if listener.ident is not None:
            listener.join(5)
        os.close(device)
        os.rmdir(directory)


def _say_hello_and_listen(device: int) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(device, 1 << 17):
            _, operation, unique, *_ = HEADER.unpack_from(data)
            if operation == INIT:
                _, _, read_ahead = struct.unpack_from("<III", data, HEADER.size)
                hello = HELLO.pack(7, 31, read_ahead, 0, 0, 0, 4096, 1, 0, 0)
                os.write(device, struct.pack("<IiQ", 16 + len(hello), 0, unique) + hello)
