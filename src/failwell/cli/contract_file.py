"""The file of a contract or floor, read whole or refused with what is wrong with it, and the signatures over it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from failwell.core.errors import InputError, NotFound

if TYPE_CHECKING:
    from failwell.core.contract import Contract, Example
    from failwell.core.orders import SignedOrder

File = Annotated[Path, typer.Argument(metavar="FILE", help="The contract, or floor, YAML.")]
MAX_FILE_BYTES = 1 << 20


def read_file(file: Path) -> str:
    """The text of a file, as it is."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{file} is too large to be a contract")
    return text


def load_file(file: Path) -> Contract:
    """The contract of a file."""
    return load_whole_file(file)[0]


def load_whole_file(file: Path) -> tuple[Contract, tuple[Example, ...]]:
    """The contract of a file, and its examples."""
    from failwell.core import contract as contracts

    text = read_file(file)
    if contracts.is_floor(text):
        raise InputError(
            f"{file} is a floor: this command reads contracts",
            hint=f"failwell contract lint {file}; contract sign and adopt show what it changes. "
            "For what it adds to a contract: failwell contract explain CONTRACT --floor FILE",
        )
    return contracts.load_whole(text, name=str(file))


def keep_signature(path: Path, signed: SignedOrder) -> Path:
    """Write a signature whole or not at all; a newer one of the same person replaces an older."""
    from failwell.core.orders import encode_signed

    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(encode_signed(signed))
    part.replace(path)
    return path
