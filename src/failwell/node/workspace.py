"""The workspace on disk (D9): where things are, who may open them, and the lock that makes one node its owner."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from failwell.core.errors import InputError, NotFound, Unhealthy
from failwell.core.note import VerifierKey
from failwell.identity import keys

_ONE_LINE = "Write it: one line, the guard's directory (as a rule ~/.local/state/failwell/guards/...) or unix:SOCKET."
_PARTS = ("keys", "orders", "contracts", "packs", "blobs")


class LedgerKeys(NamedTuple):
    """The secrets of a workspace: blob key and token key. The checkpoint key is not among them: the guard has it."""

    blobs: bytes
    tokens: bytes


class Workspace:
    """Paths of one workspace; relocatable, so nothing inside holds an absolute path of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.ledger = self.path / "ledger.db"
        self.keys = self.path / "keys"
        self.orders = self.path / "orders"
        self.contracts = self.path / "contracts"
        self.lock_path = self.path / "node.lock"
        self.log_pub = self.keys / "log.pub"
        self.former_pub = self.keys / "log-former.pub"
        self.guard = self.keys / "guard"
        self.unfinished = self.path / "unfinished"

    @property
    def runtime(self) -> Path:
        """Directory of the socket and of the records of running tools; outside the workspace, per user, 0700.

        Named by a digest of the path, so that the socket's path stays below the kernel's 108 bytes.
        """
        short = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return keys.private_directory(runtime_root(os.environ) / short)

    @property
    def socket(self) -> Path:
        return self.runtime / "node.sock"

    def check_finished(self) -> None:
        """Raises NotFound where a beginning was cut off: nothing was recorded there, and nothing may be."""
        if self.unfinished.exists():
            raise NotFound(f"the making of {self.path} was cut off", hint="Make it again: failwell init")

    def set_aside(self) -> None:
        """Put away what a beginning that was cut off left. It is not deleted: the mark could be false."""
        aside = keys.private_directory(self.path / f"cut-off-{secrets.token_hex(4)}")
        for path in (*self.keys.glob("*"), *self.path.glob("ledger.db*")):
            path.rename(aside / path.name)

    def create(self) -> LedgerKeys:
        """Make the directories and secrets of a new workspace. Refuses one that is there already."""
        if self.ledger.exists():
            raise InputError(f"{self.path} is a workspace already", hint="Use it, or choose another directory.")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in _PARTS:
            keys.private_directory(self.path / part)
        made = LedgerKeys(secrets.token_bytes(32), secrets.token_bytes(32))
        keys.save_secret(self.keys / "blobs.key", made.blobs)
        keys.save_secret(self.keys / "tokens.key", made.tokens)
        return made

    def open_keys(self) -> LedgerKeys:
        """The secrets, after their owner and modes were checked."""
        keys.check_directory(self.keys)
        return LedgerKeys(keys.load_secret(self.keys / "blobs.key"), keys.load_secret(self.keys / "tokens.key"))

    def guarded_by(self, place: str, log_key: str) -> None:
        """Say where the guard is (a directory, or `unix:` and a socket) and which key it signs with.

        A directory inside the workspace goes where the workspace goes: only what can be made again is guarded so.
        """
        if self.log_pub.exists() and (was := self.published_key()) != log_key:
            former = [*self.former_keys(), was]  # old evidence is verified with the key of its time
            keys.replace_private(self.former_pub, "".join(f"{key}\n" for key in dict.fromkeys(former)).encode())
        keys.replace_private(self.guard, f"{place}\n".encode())
        keys.replace_private(self.log_pub, f"{log_key}\n".encode())

    def published_key(self) -> str:
        """The vkey that `keys/log.pub` holds."""
        return self.log_pub.read_text("utf-8", "replace").strip()

    def former_keys(self) -> tuple[str, ...]:
        """The vkeys that were in force before, oldest first."""
        return tuple(self.former_pub.read_text("utf-8", "replace").split()) if self.former_pub.exists() else ()

    def origins(self) -> tuple[str, ...]:
        """The ledger's name now, then those it had before."""
        former = (VerifierKey.parse(key).name for key in reversed(self.former_keys()))
        return tuple(dict.fromkeys((self.origin(), *former)))

    def guard_place(self) -> str:
        """Where this workspace's guard is: an absolute path, or `unix:` and one.

        Raises NotFound where nothing says so, InputError for what says nothing.
        """
        place = self.guard_line()
        if not place or not place.isprintable() or "\N{REPLACEMENT CHARACTER}" in place:
            raise InputError(f"{self.guard} names no place of a guard", hint=_ONE_LINE)
        return place if place.startswith("unix:") else str(self.path / place)

    def guard_line(self) -> str:
        """What `keys/guard` says. NotFound where it is missing."""
        try:
            return self.guard.read_text("utf-8", "replace").strip()
        except OSError as error:
            raise NotFound(
                f"{self.guard} does not say where the guard of this record is",
                hint=_ONE_LINE,
            ) from error

    def origin(self) -> str:
        """The ledger's name, from the published half of the checkpoint key."""
        try:
            return VerifierKey.parse(self.published_key()).name
        except OSError as error:
            if self.ledger.exists():
                raise NotFound(
                    f"{self.log_pub} is missing: the published key of this record",
                    hint="Write it again, one line, from where you keep it, or from: failwell guard show",
                ) from error
            raise NotFound(f"{self.path} is not a workspace", hint="failwell init makes one.") from error


def runtime_root(environ: Mapping[str, str]) -> Path:
    """$XDG_RUNTIME_DIR/failwell, else /tmp/failwell-UID; made 0700 and checked: a stranger's directory is refused."""
    base = environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/") and Path(base).is_dir():
        root = Path(base) / "failwell"
    else:
        root = Path(f"/tmp/failwell-{os.getuid()}")  # noqa: S108  owner and mode are checked below
    return keys.private_directory(root)


def find_workspace(given: str | None, environ: Mapping[str, str], start: Path) -> Workspace:
    """The workspace named by `given` or $FAILWELL_WORKSPACE, else the nearest from `start` upwards; NotFound."""
    named = given or environ.get("FAILWELL_WORKSPACE")
    if named:
        path = Path(named)
        if not (path / "ledger.db").exists():
            raise NotFound(f"{path} is not a workspace", hint=f"failwell init {path}")
        return _finished(path)
    for directory in (start, *start.parents):
        if (directory / "ledger.db").exists() and (directory / "keys").is_dir():
            return _finished(directory)
    raise NotFound("no workspace here or above", hint="failwell init makes one; --workspace DIR names one.")


def _finished(path: Path) -> Workspace:
    workspace = Workspace(path)
    workspace.check_finished()
    return workspace


class Lock:
    """The node's lock on a workspace. Held by an open file, so it ends with the process, however that ends."""

    def __init__(self, workspace: Workspace) -> None:
        self._handle = os.open(workspace.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise Unhealthy(
                f"another node (process {holder or 'unknown'}) holds this workspace", code="locked",
                hint="Clients find it by themselves; failwell serve --stop ends it.",
            ) from error  # fmt: skip
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.ftruncate(self._handle, 0)
        os.close(self._handle)


def lock_holder(workspace: Workspace) -> int | None:
    """Process id of the node that holds the workspace, None when none does. Changes nothing."""
    try:
        handle = os.open(workspace.lock_path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else -1
    finally:
        os.close(handle)
    return None
