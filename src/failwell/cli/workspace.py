"""`init`, `serve` and `config`: a workspace from its first key to its running node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.escalation_lint import new_faults, said, show_faults
from failwell.cli.screen import FAILED, FINE, Answer, Screen, door, plural, tell
from failwell.core.errors import FailwellError, InputError, Unhealthy, Unreachable

if TYPE_CHECKING:
    from failwell.node.reached import HttpSettings
    from failwell.node.settings import Settings
    from failwell.node.workspace import Workspace

STOP_WAIT_S = 30.0
FIRST_ROLES = ("operator", "approver")

config = typer.Typer(help="The settings: failwell.toml proposes, an order puts in force.")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("init")(init)
    app.command("serve")(serve)
    app.add_typer(config, name="config")


# ---- init ----------------------------------------------------------------------------------------------------


@door("init")
def init(
    person: Annotated[str, typer.Option(metavar="NAME", help="The first person, who signs for all of it.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="Default: here.")] = Path("."),
    email: Annotated[str | None, typer.Option(metavar="ADDR", help="Where this person is told of incidents.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE", help="operator, approver or reviewer; once for each.")
    ] = None,
    as_json: options.AsJson = False,
) -> Answer:
    """Make a workspace: its keys, its ledger, and its first person.

    The person's key is made in their own configuration directory if they have none. A failwell.toml that lies in
    DIR already becomes the settings in force.

    \b
    Examples:
      failwell init --person anna --email anna@example.org
      failwell init shop --person anna --role operator
    """
    from failwell.identity.names import check_name
    from failwell.node import settings
    from failwell.node.beginning import begin
    from failwell.node.workspace import Workspace

    check_name(person, "person")
    workspace = Workspace(directory)
    if workspace.ledger.exists() and not workspace.unfinished.exists():
        raise InputError(f"{workspace.path} is a workspace already", hint="Use it, or choose another directory.")
    if email is None:
        tell(f"Without --email, {person} cannot be told of incidents, and can own no agent.")
    text = _settings_text(workspace.path / settings.FILE_NAME)
    signer = session.own_person_key(person)
    begun = begin(workspace, signer, email=email, roles=tuple(role or FIRST_ROLES), settings_toml=text)

    def show(screen: Screen) -> None:
        screen.lead(
            f"The workspace is made in {workspace.path}; {person} signed for it.",
            "Next: a second person, since a contract and a release take two.",
        )
        screen.command("failwell person add NAME --email ADDR --role approver")
        screen.command(f"failwell person verify {person} --vouch --as NAME")
        screen.say("Then an agent, whose owner writes, signs and gets adopted its contract:")
        screen.command(f"failwell agent register spiffe://example.org/agent/NAME --owner {person}")
        screen.command(f"failwell contract sign FILE --as {person}")
        screen.command("failwell contract adopt FILE --as NAME")
        screen.say("Keep the verifier key outside this machine; with it a foreign record is told from yours:")
        screen.command(begun.log_key)
        screen.say(
            f"Its guard remembers what it signed, in {workspace.guard_place()}: to another machine, the two move "
            "together; never restore one of them alone from a backup."
        )

    fields = {
        "workspace": str(workspace.path), "origin": begun.origin, "log_key": begun.log_key, "person": person,
        "guard": workspace.guard_place(),
        "roles": list(role or FIRST_ROLES), "settings": str(workspace.path / settings.FILE_NAME),
    }  # fmt: skip
    return Answer(fields=fields, show=show)


def _settings_text(path: Path) -> str:
    from failwell.node import settings

    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return settings.DEFAULT_TEXT
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error
    settings.parse_settings(text, str(path))  # before any key is made
    return text


# ---- serve ---------------------------------------------------------------------------------------------------


@door("serve")
def serve(
    workspace: options.Workspace = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the running node and wait until it has ended.")] = False,
    standby: Annotated[
        bool, typer.Option("--standby", help="Stand by for the running node, and take its place when it dies or hangs.")
    ] = False,
    idle_s: Annotated[
        int, typer.Option("--idle-s", min=0, metavar="S", help="End after S quiet seconds; 0: never.")
    ] = 0,
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="ADDR", help="Answer HTTP there too: 127.0.0.1:7341, port 0 for any."),
    ] = None,
    as_json: options.AsJson = False,
) -> Answer | None:
    """Run the node in the foreground, or end the one that runs.

    Commands and clients start a node by themselves where none runs; it ends when nobody has needed it for a while.

    With --standby it waits beside the node that runs. Should that one die, or be 2 s late with its heartbeat (stopped,
    hung), it is killed, and this process is the node from then on. One that ends on purpose is not replaced.

    \b
    Examples:
      failwell serve
      failwell serve --standby
      failwell serve --http 127.0.0.1:7341
      failwell serve --stop
    """
    place = session.open_workspace(workspace)
    if stop:
        if standby:
            raise InputError("--stop ends a node, --standby waits for one", hint="failwell serve --help")
        return _stop(place)
    _be_the_node(place, standby=standby, idle_s=idle_s, http=http, as_json=as_json)
    return None


def _be_the_node(place: Workspace, *, standby: bool, idle_s: int, http: str | None, as_json: bool) -> None:
    """Run the node here, with `standby` once its place is taken; ends with it."""
    from failwell.node.__main__ import run
    from failwell.node.reached import parse_listen
    from failwell.node.workspace import lock_holder

    if (holder := lock_holder(place)) is not None and not standby:
        raise Unhealthy(
            f"a node (process {holder}) serves this workspace already",
            hint="failwell serve --stop ends it. Its HTTP door is opened by [http] and failwell config apply. "
            "A second one beside it: failwell serve --standby",
            code="locked",
        )  # fmt: skip

    if http is not None:
        parse_listen(http, allow_remote=_settings_of(place).allow_remote)
    taken = None
    if standby:
        from failwell.cli.standby import await_place

        taken = await_place(place, as_json=as_json)
        if taken is None:
            return
    tell("proving that tools can be stopped here ...")
    run(
        place.path, idle_s=idle_s, ready=lambda closed: _ready(place, closed, as_json=as_json), served=True, http=http,
        taken=taken,
    )  # fmt: skip


def _ready(place: Workspace, closed: FailwellError | None, *, as_json: bool) -> None:
    """Say that the node answers, and why it permits nothing where that is so."""
    if as_json:
        told = {"schema": "failwell/serve/1", "workspace": str(place.path), "pid": os.getpid(), "state": "ready",
                "permits_nothing": None if closed is None else closed.message}  # fmt: skip
        print(json.dumps(told), flush=True)
        return
    print(f"Serving {place.path} (process {os.getpid()}).", flush=True)
    print("Ctrl-C or `failwell serve --stop` ends it; what runs is stopped first.", flush=True)
    if closed is not None:
        print(f"IT PERMITS NOTHING: {closed.message}. {closed.hint or ''}".rstrip(), flush=True)


def _settings_of(place: Workspace) -> HttpSettings:
    """What the file says of the HTTP door; those in force are the node's to know."""
    from failwell.node.reached import HttpSettings
    from failwell.node.settings import read_settings

    return read_settings(place.path).http or HttpSettings()


def _stop(place: Workspace) -> Answer:
    from failwell.node.workspace import lock_holder

    holder = lock_holder(place)
    fields: dict[str, Any] = {"workspace": str(place.path), "pid": holder, "was_running": holder is not None}
    if holder is None:
        return Answer(fields=fields | {"stopped": True}, show=lambda screen: screen.say("No node was running."))
    if holder < 1:
        raise Unhealthy("a node holds this workspace, but does not say which process it is", hint="Try again.")
    began = time.monotonic()
    with contextlib.suppress(ProcessLookupError):
        os.kill(holder, signal.SIGTERM)
    while lock_holder(place) == holder:
        if time.monotonic() - began > STOP_WAIT_S:
            raise Unreachable(
                f"the node (process {holder}) was told to end and has not within {STOP_WAIT_S:.0f} s",
                hint=f"If it is stopped, kill -CONT {holder} lets it go on; suspending an agent works all the same.",
            )
        time.sleep(0.05)
    took_ms = round((time.monotonic() - began) * 1000)
    return Answer(
        fields=fields | {"stopped": True, "took_ms": took_ms},
        show=lambda screen: screen.say(f"The node (process {holder}) has ended, after {took_ms} ms."),
    )


# ---- config --------------------------------------------------------------------------------------------------


@config.command("show")
@door("config-show")
def show_settings(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Show the settings in force, and what failwell.toml would change.

    \b
    Example:
      failwell config show
    """
    import msgspec

    from failwell.node import settings

    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        force = wire.call("ask", about="settings")
    in_force = settings.settings_from_text(force["text"])
    differences, fault = [], None
    try:
        differences = setting_differences(in_force, settings.read_settings(place.path))
    except FailwellError as error:
        fault = error.message

    def show(screen: Screen) -> None:
        if fault is not None:
            screen.lead(
                f"failwell.toml could not be put in force: {fault}",
                "The settings below stay in force. Mend the file, then: failwell config apply", bad=True,
            )  # fmt: skip
        elif differences:
            screen.lead(
                f"failwell.toml differs from the settings in force in {len(differences)} places.",
                "An operator puts the file in force: failwell config apply",
            )
            screen.table(("setting", "in force", "failwell.toml"), differences)
        else:
            screen.lead("The settings in force are those of failwell.toml.", f"Digest {force['digest']}")
        screen.say()
        screen.table(("setting", "in force"), list(_flat(msgspec.to_builtins(in_force))))

    fields = {
        "digest": force["digest"], "settings": msgspec.to_builtins(in_force), "fault": fault,
        "differences": [dict(zip(("setting", "in_force", "proposed"), item, strict=True)) for item in differences],
    }  # fmt: skip
    return Answer(fields=fields, show=show, status=FINE if fault is None else FAILED)


@config.command("apply")
@door("config-apply")
def apply(
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Put failwell.toml in force by an operator's signed order.

    \b
    Example:
      failwell config apply --as anna
    """
    from failwell.core import orders
    from failwell.node import settings, watch

    place = session.open_workspace(workspace)
    wanted = settings.read_settings(place.path)
    digest = watch.digest(settings.settings_text(wanted))
    with session.reach_node(place) as wire:
        force = wire.call("ask", about="settings")
    fields = {"digest": digest, "previous": force["digest"]}
    if digest == force["digest"]:
        return Answer(
            fields=fields | {"entry": None, "applied": False},
            show=lambda screen: screen.say("Nothing to apply: failwell.toml says what is in force."),
        )
    differences = setting_differences(settings.settings_from_text(force["text"]), wanted)
    faults = new_faults(place, settings.settings_text(wanted))
    about = [f"{name}: {was} becomes {now}" for name, was, now in differences] + said(faults)
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        entry = hand.give("config.apply", orders.ConfigApply(settings=digest, previous=force["digest"]))

    def show(screen: Screen) -> None:
        screen.lead(f"The settings of failwell.toml are in force (entry {entry}).", "See them: failwell config show")
        screen.table(("setting", "was", "is"), differences)
        if faults:
            screen.say(f"\nTo mend since ({plural(len(faults), 'thing')}): failwell escalation lint", "bold red")
            show_faults(screen, faults)

    return Answer(fields=fields | {"entry": entry, "applied": True, "faults": faults}, show=show)


def setting_differences(in_force: Settings, proposed: Settings) -> list[tuple[str, str, str]]:
    """(setting, in force, proposed) of each that differs."""
    import msgspec

    was, now = dict(_flat(msgspec.to_builtins(in_force))), dict(_flat(msgspec.to_builtins(proposed)))
    names = [*was, *(name for name in now if name not in was)]
    return [(name, was.get(name, "-"), now.get(name, "-")) for name in names if was.get(name) != now.get(name)]


def _flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Settings as (dotted name, value) rows."""
    if isinstance(value, dict):
        return [row for key, below in value.items() for row in _flat(below, f"{name}.{key}" if name else str(key))]
    return [] if value is None else [(name, json.dumps(value))]
