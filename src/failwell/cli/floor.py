"""`floor list`, and what `contract lint|sign|adopt` do with a floor's file: what stands under every contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from failwell.cli import options, session
from failwell.cli.contract_file import keep_signature, read_file
from failwell.cli.screen import Answer, Screen, door, plural
from failwell.core.errors import InputError, NotFound

if TYPE_CHECKING:
    from failwell.core.contract import Floor
    from failwell.core.orders import SignedOrder
    from failwell.node.workspace import Workspace

app = typer.Typer(help="What every contract is judged with besides its own rules.")


@app.command("list")
@door("floor-list")
def list_floors(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """List the floors in force, and the agents that each of them binds.

    \b
    Example:
      failwell floor list
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        rows: dict[str, Any] = wire.call("ask", about="floors")
        agents: dict[str, Any] = wire.call("ask", about="agents")
    found = [
        {
            "floor": name, "version": row["version"], "scope": row["scope"], "digest": row["digest"],
            "entry": row["adopted"], "agents": sorted(a["name"] for a in agents.values() if binds(row["scope"], a)),
        }
        for name, row in sorted(rows.items())
    ]  # fmt: skip

    def show(screen: Screen) -> None:
        screen.lead(f"{plural(len(found), 'floor')} in force.", "A contract can only tighten what a floor asks.")
        columns = ("floor", "version", "for", "agents", "entry")
        lines = [
            (one["floor"], one["version"], one["scope"], ", ".join(one["agents"]) or "none yet", one["entry"])
            for one in found
        ]
        screen.table(columns, lines, right=("version", "entry"))

    return Answer(fields={"floors": found}, show=show)


def binds(scope: str, agent: dict[str, Any]) -> bool:
    """Whether a floor of this scope binds the agent of this row."""
    return scope == "organisation" or scope.removeprefix("group:") in agent["groups"]


# ---- a floor's file ----------------------------------------------------------------------------------------------


def is_floor(file: Path) -> bool:
    """Whether a file is a floor's and not a contract's."""
    from failwell.core.contract import is_floor as meant

    return meant(read_file(file))


def lint(file: Path) -> Answer:
    """What `contract lint` says of a floor."""
    import msgspec

    from failwell.core import contract as contracts

    text = read_file(file)
    findings = contracts.lint_floor(text, name=str(file))
    errors = [finding for finding in findings if finding.level == "error"]
    floor = None if errors else contracts.load_floor(text, name=str(file))

    def show(screen: Screen) -> None:
        if floor is None:
            screen.lead(f"{file} must not be adopted: {plural(len(errors), 'error')}.", "Mend them.", bad=True)
        else:
            screen.lead(
                f"{file} is a sound floor: {floor.floor} v{floor.version}, for {floor.scope}.",
                f"An operator or an owner signs it: failwell contract sign {file} --as PERSON",
            )
        for finding in findings:
            screen.say()
            screen.say(str(finding))

    fields = {
        "file": str(file), "sound": floor is not None, "floor": None if floor is None else floor.floor,
        "version": None if floor is None else floor.version, "scope": None if floor is None else floor.scope,
        "digest": None if floor is None else contracts.floor_digest(floor),
        "findings": [msgspec.to_builtins(finding) for finding in findings],
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=floor is None)


def sign(file: Path, place: Workspace, person: str | None, *, yes: bool) -> Answer:
    """What `contract sign` does with a floor: one person stands for it."""
    floor = _load(file)
    with session.take_hand(place, person, yes=yes, about=_about(place, floor)) as hand:
        signed = hand.sign_floor(floor)
        path = keep_signature(place.contracts / _signature_name(floor, hand.person), signed)
        signer = hand.person

    def show(screen: Screen) -> None:
        screen.lead(
            f"The floor {floor.floor} v{floor.version} is signed by {signer}. It is not in force yet.",
            "Another person, an approver, adopts it within 30 days:",
        )
        screen.command(f"failwell contract adopt {file} --as APPROVER")

    fields = {"floor": floor.floor, "version": floor.version, "person": signer, "signature": str(path)}
    return Answer(fields=fields, show=show)


def adopt(file: Path, place: Workspace, person: str | None, *, yes: bool) -> Answer:
    """What `contract adopt` does with a floor: another person puts it in force."""
    floor = _load(file)
    signed = _signature(place, floor, file)
    with session.take_hand(place, person, yes=yes, about=_about(place, floor)) as hand:
        entry = hand.adopt_floor(floor, signed)

    def show(screen: Screen) -> None:
        screen.lead(
            f"The floor {floor.floor} v{floor.version} is in force for {floor.scope} (entry {entry}).",
            "From the next action on, every contract there is judged with it: failwell floor list",
        )

    fields = {"floor": floor.floor, "version": floor.version, "scope": floor.scope, "entry": entry}
    return Answer(fields=fields, show=show)


def _load(file: Path) -> Floor:
    from failwell.core.contract import load_floor

    return load_floor(read_file(file), name=str(file))


def _signature_name(floor: Floor, person: str) -> str:
    return f"floor.{floor.floor}.v{floor.version}.{person}.sig"


def _signature(place: Workspace, floor: Floor, file: Path) -> SignedOrder:
    """The newest signature over exactly this text: whose it is, the order says."""
    from failwell.core.contract import floor_digest
    from failwell.core.orders import parse_order, parse_signed

    found: list[tuple[str, SignedOrder]] = []
    for path in place.contracts.glob(_signature_name(floor, "*")):
        signed = parse_signed(path.read_bytes())
        order = parse_order(signed.order)
        if getattr(order.details, "digest", None) == floor_digest(floor):
            found.append((order.at, signed))
    if not found:
        raise NotFound(
            f"the floor {floor.floor} v{floor.version} is signed by nobody, as it stands in {file}",
            hint=f"failwell contract sign {file} --as PERSON",
        )
    return max(found, key=lambda each: each[0])[1]


def _about(place: Workspace, floor: Floor) -> list[str]:
    """What a floor changes of the version in force, in lines for whoever signs it."""
    from failwell.core.contract import floor_diff, floor_from_canonical

    with session.reach_node(place) as wire:
        row = wire.call("ask", about="floors").get(floor.floor)
    old = None if row is None else floor_from_canonical(row["document"].encode())
    if old is not None and old.version >= floor.version:
        raise InputError(f"version {old.version} of {floor.floor} is in force", hint="Raise `version`.")
    against = "it is new" if old is None else f"against v{old.version}, which is in force"
    changes = [f"{change.means.upper()}: {change.about}: {change.says}" for change in floor_diff(old, floor)]
    lines = [f"floor {floor.floor} v{floor.version}, for {floor.scope}: {floor.purpose}", against]
    return [*lines, *(changes or ["nothing changes but the version"])]
