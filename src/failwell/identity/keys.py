"""Ed25519 keys (RFC 8032) and symmetric keys in files, with the modes that keep them private.

A private key or secret lies in a file of mode 0600 in a directory of mode 0700, both owned by the user who
runs. It is created whole or not at all, never overwritten, and each reading checks owner and modes on the
opened file first. PEM is PKCS #8 (RFC 5958, RFC 7468). This module does not encrypt under a passphrase
(`identity.persons`) and guards against other users of the machine, not against a process of the same user.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from failwell.core.errors import InputError, NotFound, Refused
from failwell.verify.ed25519 import is_small_order

PUBLIC_BYTES = 32
SECRET_BYTES = 32
SIGNATURE_BYTES = 64
MAX_KEY_FILE_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 private key in memory. Its text form shows the key id only."""

    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        return public_bytes(self.private)

    @property
    def key_id(self) -> str:
        """First 16 hex digits of SHA-256 over the raw public key."""
        return key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """The 64 byte signature over `message` (RFC 8032, pure Ed25519)."""
        return self.private.sign(message)


def generate() -> SigningKey:
    """A new key from the operating system's randomness."""
    return SigningKey(Ed25519PrivateKey.generate())


def from_seed(seed: bytes) -> SigningKey:
    """The key of a 32 byte seed (RFC 8032 5.1.5); for vectors and tests, whose randomness is given."""
    if len(seed) != 32:
        raise InputError(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


def public_bytes(private: Ed25519PrivateKey) -> bytes:
    """The raw public key (32 bytes) of a private one."""
    return private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def key_id(public: bytes) -> str:
    """First 16 hex digits of SHA-256 over the raw public key."""
    return hashlib.sha256(public).hexdigest()[:16]


def check_public(public: bytes) -> bytes:
    """The same 32 bytes, if they can serve as somebody's key.

    Raises Refused for a wrong length and for the points of small order: under such a "key" one signature fits every
    message, so its holder could deny any order and anybody could forge one. RFC 8032 does not exclude them.
    """
    if len(public) != PUBLIC_BYTES:
        raise Refused(f"an Ed25519 public key has 32 bytes, not {len(public)}")
    if is_small_order(public):
        raise Refused("this public key verifies signatures that nobody made; it is refused")
    return public


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` was made by the private key of `public` (RFC 8032 5.1.7).

    Anything malformed, keys of small order included, is False.
    """
    try:
        Ed25519PublicKey.from_public_bytes(check_public(public)).verify(signature, message)
    except (InvalidSignature, ValueError, Refused):
        return False
    return True


# ---- files -----------------------------------------------------------------------------------------------


def private_directory(path: Path) -> Path:
    """The directory, made with mode 0700 where absent (missing parents too), checked where present.

    Raises InputError when it is not a directory of this user with mode 0700.
    """
    missing = []
    probe = path
    while not os.path.lexists(probe):
        missing.append(probe)
        probe = probe.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # made by another process meanwhile: judged below like any other
            directory.mkdir(mode=0o700)
    check_directory(path)
    return path


def check_directory(path: Path) -> None:
    """Raises InputError unless `path` is a directory that only the user who runs can enter (mode 0700)."""
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        raise NotFound(f"there is no directory {path}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} is not a directory, keys are not kept in it", code="key-permissions")
    _check_owner_and_mode(path, found, 0o077, "700")


def check_private(path: Path) -> None:
    """Check that a key file is a plain file of this user with mode 0600 (or 0400) in a directory of mode
    0700.

    Raises NotFound, or InputError (code "key-permissions") that names the command that mends it.
    """
    os.close(_open_private(path))


def write_private(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, whole or not at all, durable on return; the directory is made 0700 if
    absent.

    Raises InputError when the file is already there: a key is never overwritten, since what it signed or
    sealed would be lost with it.
    """
    part = _write_part(path, data)
    try:
        # link, not rename: rename would silently replace a key that another process made meanwhile.
        os.link(part, path, follow_symlinks=False)
    except FileExistsError as error:
        raise InputError(f"{path} is already there; a key is never overwritten", hint="Choose another name.") from error
    finally:
        part.unlink(missing_ok=True)
    _sync_directory(path.parent)


def replace_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 in the place of an earlier one, if any: one of the two is there, never a mixture."""
    part = _write_part(path, data)
    try:
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _write_part(path: Path, data: bytes) -> Path:
    """A durable file of mode 0600 beside `path`, under a name of its own."""
    directory = private_directory(path.parent)
    part = directory / f".{path.name}.{secrets.token_hex(8)}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), 0o600)  # a umask may only have narrowed it; make it exact
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def read_private(path: Path) -> bytes:
    """The content of a key file whose owner and modes were checked on the opened file.

    Raises as `check_private`, and InputError for a file over 16 KiB.
    """
    with os.fdopen(_open_private(path), "rb") as stream:
        data = stream.read(MAX_KEY_FILE_BYTES + 1)
    if len(data) > MAX_KEY_FILE_BYTES:
        raise InputError(f"{path} is too large to be a key")
    return data


def read_kept(path: Path, max_bytes: int) -> bytes:
    """The content of a secret file that an operator keeps, wherever it lies: this user's, and for nobody else to read.

    Judged on the opened file. Raises NotFound, or InputError (code "key-permissions") that names what mends it.
    """
    handle = _open_plain(path, "secret file")
    with os.fdopen(handle, "rb") as stream:
        _check_owner_and_mode(path, os.fstat(handle), 0o177, "600")
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputError(f"{path} holds more than {max_bytes:,} bytes")
    return data


def save_key(path: Path, key: SigningKey) -> None:
    """Write a private key as unencrypted PKCS #8 PEM; raises as `write_private`."""
    pem = key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(path, pem)


def load_key(path: Path) -> SigningKey:
    """The Ed25519 key of a PEM file; raises as `check_private`, InputError when it holds none."""
    try:
        private = serialization.load_pem_private_key(read_private(path), password=None)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} holds no readable private key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path} holds a key of another kind than Ed25519")
    return SigningKey(private)


def save_secret(path: Path, secret: bytes) -> None:
    """Write a symmetric key (32 random bytes, raw); raises as `write_private`, and for other lengths."""
    if len(secret) != SECRET_BYTES:
        raise InputError(f"a symmetric key has 32 bytes, not {len(secret)}")
    write_private(path, secret)


def load_secret(path: Path) -> bytes:
    """The symmetric key of a file; raises as `check_private`, and InputError when it has not 32 bytes."""
    secret = read_private(path)
    if len(secret) != SECRET_BYTES:
        raise InputError(f"{path} holds {len(secret)} bytes, a symmetric key has 32")
    return secret


def _open_private(path: Path) -> int:
    handle = _open_plain(path, "key file")
    try:
        _check_owner_and_mode(path, os.fstat(handle), 0o177, "600")
        check_directory(path.parent)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _open_plain(path: Path, what: str) -> int:
    # The file is opened first and judged by its descriptor: judging the path would leave time to swap the
    # file.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NotFound(f"there is no {what} {path}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a link, a {what} must be a plain file", code="key-permissions") from error
        raise InputError(f"{what} {path} cannot be read: {error.strerror}", code="key-permissions") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path} is not a plain file", code="key-permissions")
    return handle


def _check_owner_and_mode(path: Path, found: os.stat_result, forbidden: int, wanted: str) -> None:
    if found.st_uid != os.geteuid():
        raise InputError(
            f"{path} belongs to user {found.st_uid}, not to the user who runs ({os.geteuid()})",
            hint=f"chown {os.geteuid()} {shlex.quote(str(path))}",
            code="key-permissions",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & forbidden:
        raise InputError(
            f"{path} has mode {mode:04o}, others may be able to use it; it must be 0{wanted}",
            hint=f"chmod {wanted} {shlex.quote(str(path))}",
            code="key-permissions",
        )


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
