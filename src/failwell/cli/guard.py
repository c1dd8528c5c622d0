"""`guard`: look at who signs the heads of the record, and be that guard as a user of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, give, plural, tell

if TYPE_CHECKING:
    from failwell.guard.frames import Shown
    from failwell.guard.place import Place

app = typer.Typer(help="Who signs the heads of the record, and what it signed last.")

LOOK_S = 2.0


class _Seen(NamedTuple):
    """A guard as it is found: what it says, its process (None: not running), and the user it runs or is kept as."""

    shown: Shown
    pid: int | None
    uid: int


@app.command("show")
@door("guard-show")
def show(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show where the guard is, who runs it, and what it signed last.

    Reads only, and starts nothing.

    \b
    Examples:
      failwell guard show
      failwell guard show --json
    """
    from failwell.guard.place import Place

    place = Place.parse(session.open_workspace(workspace).guard_place())
    seen = _look(place)
    own = seen.uid == os.geteuid()

    def screen_it(screen: Screen) -> None:
        _show(screen, place, seen, own)

    return Answer(fields=_fields(place, seen, own), show=screen_it, finding=seen.shown.retired is not None)


def _look(place: Place) -> _Seen:
    from failwell.guard.process import shown
    from failwell.guard.remote import RemoteGuard
    from failwell.guard.state import holder, peek

    if place.directory is not None:
        return _Seen(shown(peek(place.directory)), holder(place.directory), place.directory.stat().st_uid)
    guard = RemoteGuard.at(str(place), timeout_s=LOOK_S)
    try:
        return _Seen(guard.shown(), *guard.peer())
    finally:
        guard.close()


def _fields(place: Place, seen: _Seen, own: bool) -> dict[str, Any]:
    shown, waiting = seen.shown, seen.shown.waiting
    return {
        "place": str(place), "run_by": "this-user" if own else "another-user", "uid": seen.uid, "pid": seen.pid,
        "key": shown.key, "size": shown.size if shown.note is not None else None,
        "root": shown.root.hex() if shown.note is not None else None,
        "note": None if shown.note is None else shown.note.decode(), "grows_from": shown.size,
        "next_key": None if waiting is None else waiting.key, "next_from": None if waiting is None else waiting.since,
        "retired": shown.retired,
    }  # fmt: skip


def _show(screen: Screen, place: Place, seen: _Seen, own: bool) -> None:
    shown = seen.shown
    what = "nothing yet" if shown.note is None else f"the first {plural(shown.size, 'entry', 'entries')}"
    if shown.retired is not None:
        screen.lead(f"This guard is retired and signs nothing any more: {shown.retired}",
                    f"What it signed last, {what}, is kept as evidence.", bad=True)  # fmt: skip
    else:
        screen.lead(f"The guard has signed {what}.", "Whether the record agrees with it: failwell ledger verify")
    user = f"this user ({seen.uid}): it guards against failure, not against a malicious process of this user"
    idle = "none" if shown.retired is not None else "not running now; it starts with the node"
    running = idle if seen.pid is None else str(seen.pid)
    rows = [
        ("where", str(place)),
        ("run by", user if own else f"another user ({seen.uid})"),
        ("process", running),
        ("signs with", shown.key),
        ("last root", "-" if shown.note is None else shown.root.hex()),
    ]
    if shown.waiting is not None:
        since = "waits to be recorded" if shown.waiting.since is None else f"signs from size {shown.waiting.since} on"
        rows.append(("next key", f"{shown.waiting.key} ({since})"))
    screen.say()
    screen.table(("", ""), rows)


@app.command("serve")
@door("guard-serve")
def serve(
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="The guard's directory; it must be yours alone.")
    ],
    socket: Annotated[Path, typer.Option("--socket", metavar="PATH", help="Where it listens.")],
    allow_uid: Annotated[
        list[int] | None, typer.Option("--allow-uid", metavar="N", help="A user it answers, besides its own; repeat.")
    ] = None,
    as_json: options.AsJson = False,
) -> Answer | None:  # fmt: skip
    """Be the guard of a record, as a user of one's own, until SIGTERM.

    To hand over a guard that the node's user kept so far: stop the node; move the guard's directory to the other
    user (chown it); start this as that user; write unix:PATH into the workspace's keys/guard; start the node; change
    the key, which the node's user could read until then (failwell ledger rotate).

    \b
    Example:
      failwell guard serve --state /var/lib/guard/one --socket /run/guard/one.sock --allow-uid 1000
    """
    from failwell.guard.place import Place
    from failwell.guard.process import serve_socket

    place = Place.parse(f"unix:{socket.absolute()}")
    assert place.socket is not None

    def ready() -> None:
        if as_json:
            give("guard-serve", Answer(fields={"place": str(place), "pid": os.getpid()}, show=_nothing), as_json=True)
        else:
            tell(f"the guard (process {os.getpid()}) answers at {place}")

    serve_socket(state.absolute(), place.socket, frozenset(allow_uid or ()), ready)
    return None


def _nothing(_: Screen) -> None:
    """What a program that asked for JSON is shown besides."""
