"""Who acts, and on what: finds the workspace, reaches its node, unlocks a person's key and asks before signing.

Passphrases come from the terminal, or from a file that $FAILWELL_PASSPHRASE_FILE names; never from an argument or a
variable, where other processes could read them.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failwell.cli.screen import Screen, tell
from failwell.core.errors import InputError, NotFound, Refused
from failwell.identity import names

if TYPE_CHECKING:
    from failwell.client.powers import Confirm, Hand
    from failwell.client.wire import Wire
    from failwell.identity.persons import PersonKey, Signer
    from failwell.node.workspace import Workspace

PASSPHRASE_FILE = "FAILWELL_PASSPHRASE_FILE"
TRIES = 3
MAX_PASSPHRASE_BYTES = 4096


def open_workspace(given: str | None) -> Workspace:
    """The workspace that is meant; NotFound where there is none."""
    from failwell.node.workspace import find_workspace

    return find_workspace(given, os.environ, Path.cwd())


def config_directory() -> Path:
    """The configuration directory of whoever runs this."""
    return names.config_directory(os.environ, Path.home())


@contextlib.contextmanager
def reach_node(workspace: Workspace) -> Iterator[Wire]:
    """A connection to the workspace's node, which is started where none runs."""
    from failwell.client.wire import reach
    from failwell.node.workspace import lock_holder

    if lock_holder(workspace) is None:
        tell("starting the node ...")
    wire = reach(workspace.socket, workspace.path)
    try:
        yield wire
    finally:
        wire.close()


@contextlib.contextmanager
def take_hand(workspace: Workspace, person: str | None, *, yes: bool, about: Collection[str] = ()) -> Iterator[Hand]:
    """A person's hand on the workspace. `about` are lines on what the order is about, shown before it is signed."""
    from failwell.client.powers import Hand

    signer = unlock(pick_person(person))
    with reach_node(workspace) as wire:
        yield Hand(wire, signer, confirm(signer.person, yes=yes, about=about))


# ---- persons -------------------------------------------------------------------------------------------------


def pick_person(name: str | None, but: str | None = None) -> PersonKey:
    """The key of `name`, or the only one here (not counting `but`'s). NotFound, InputError where that is not one."""
    from failwell.identity.persons import PersonKey

    directory = config_directory()
    if name is not None:
        try:
            return PersonKey.load(directory, name)
        except NotFound as error:
            raise NotFound(
                f"{name} has no key in {directory}", hint="Keys made here: failwell person list; else --as PERSON."
            ) from error
    found = [key for key in PersonKey.list(directory) if key.person != but]
    if not found:
        raise NotFound(f"no person has a key in {directory}", hint="failwell person key NAME makes one.")
    if len(found) > 1:
        several = ", ".join(key.person for key in found)
        raise InputError(f"several persons have a key here: {several}", hint="Say who signs: --as PERSON")
    return found[0]


def unlock(key: PersonKey) -> Signer:
    """The key, ready to sign, after the passphrase was given. Refused (code "passphrase") when it does not open it."""
    given = _passphrase_file()
    if given is not None:
        return key.unlock(given)
    for tries_left in range(TRIES - 1, -1, -1):
        try:
            return key.unlock(_ask(f"Passphrase of {key.person}: "))
        except Refused:
            if not tries_left:
                raise
            tell("That does not open it. Once more:")
    raise AssertionError("unreachable")


def make_person_key(name: str) -> Signer:
    """A new key for `name`, its passphrase asked twice."""
    from failwell.identity.persons import PersonKey

    names.check_name(name, "person")
    passphrase = _passphrase_file()
    if passphrase is None:
        passphrase = _ask(f"New passphrase for {name}: ")
        if _ask("The same once more: ") != passphrase:
            raise InputError("the two passphrases differ", hint="Nothing was made. Start again.")
    return PersonKey.create(config_directory(), name, passphrase).unlock(passphrase)


def own_person_key(name: str) -> Signer:
    """The key of `name` in this configuration directory, unlocked; made where there is none."""
    from failwell.identity.persons import PersonKey

    try:
        key = PersonKey.load(config_directory(), name)
    except NotFound:
        return make_person_key(name)
    return unlock(key)


def _passphrase_file() -> str | None:
    """The first line of the file that the environment names, if it names one."""
    named = os.environ.get(PASSPHRASE_FILE)
    if not named:
        return None
    try:
        handle = os.open(named, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"{PASSPHRASE_FILE}: {named} cannot be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise InputError(
                f"{PASSPHRASE_FILE}: others may read {named}", hint=f"chmod 600 {named}", code="key-permissions"
            )
        text = file.read(MAX_PASSPHRASE_BYTES)
    try:
        return text.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InputError(f"{PASSPHRASE_FILE}: {named} is not UTF-8 text") from error


def _ask(prompt: str) -> str:
    if not _has_terminal():
        raise InputError(
            "a passphrase is needed, and there is no terminal to ask for it",
            hint=f"{PASSPHRASE_FILE} may name a file with mode 600 that holds it.",
        )
    try:
        return getpass.getpass(prompt)
    except EOFError as error:
        raise InputError("no passphrase was given") from error


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True


# ---- asking before signing -----------------------------------------------------------------------------------


def confirm(person: str, *, yes: bool, about: Collection[str] = ()) -> Confirm:
    """Show what an order is about and ask; with `yes` neither."""

    def ask(shown: dict[str, Any]) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise InputError("nobody is there to agree to this order", hint="Look at it, then give it with --yes.")
        screen = Screen(to_stderr=True)
        screen.say(f"{person} is about to sign this order:", "bold")
        for line in about:
            screen.say(f"  {line}")
        screen.table(("", ""), [(f"  {name}", value) for name, value in _flat(shown)])
        sys.stderr.write("Sign it? [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return ask


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested names and values as rows: `incident.title`, `...`."""
    if isinstance(value, dict):
        for key, below in value.items():
            inner = str(key) if name in ("", "details") else f"{name}.{key}"
            yield from _flat(below, inner)
    elif isinstance(value, list | tuple):
        yield name, ", ".join(str(item) for item in value) or "none"
    else:
        yield name, "none" if value is None else str(value)
