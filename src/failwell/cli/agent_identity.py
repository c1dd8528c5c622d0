"""`agent certify|revoke|rekey`: what an agent proves itself with, made out, taken away and replaced."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session, stopping
from failwell.cli.lookup import find_agent
from failwell.cli.screen import Answer, Screen, clock, door, plural
from failwell.core.errors import NotFound

if TYPE_CHECKING:
    from failwell.identity.keys import SigningKey
    from failwell.node.workspace import Workspace

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Its short name or full SPIFFE id.")]


def register(app: typer.Typer) -> None:
    """Put the commands into `agent`."""
    app.command("certify")(certify)
    app.command("revoke")(revoke)
    app.command("rekey")(rekey)


@door("agent-certify")
def certify(
    name: Name,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="A new file. Default: beside the agent's key."),
    ] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Have a short-lived certificate made out to an agent.

    Its key must be here. A fresh key is made for it; both go into one file with mode 600. Beside the agent's key,
    where it goes by itself, whoever runs the agent uses it from then on and renews it when half its time is over.

    \b
    Example:
      failwell agent certify refund-bot
    """
    from failwell.client import proofs
    from failwell.identity import names

    place = session.open_workspace(workspace)
    config = session.config_directory()
    with session.reach_node(place) as wire:
        full = proofs.prove(wire, config, "agent", name).full
        path = names.agent_credential_path(config, place.origin(), full) if out is None else out
        made = proofs.certify(wire, full, path, replace=out is None)
    told = made.told

    def show(screen: Screen) -> None:
        screen.lead(
            f"{full} has a certificate until {clock(told['not_after'])} (entry {told['entry']}).",
            f"It lies with its key in {made.path}; a new one: the same command.",
        )

    fields = {
        "agent": full, "spiffe_id": told["spiffe_id"], "serial": told["serial"], "not_after": told["not_after"],
        "file": str(made.path), "entry": told["entry"],
    }  # fmt: skip
    return Answer(fields=fields, show=show)


@door("agent-revoke")
def revoke(
    name: Name,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")],
    workspace: options.Workspace = None, person: options.As = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Take an agent's key and certificates out of force, at once.

    It works whatever state the node is in. Connections that proved themselves with them prove nothing any more, and
    what they run is stopped. Any enrolled person may; it asks nothing. The agent acts again once an operator gave
    it a new key.

    \b
    Example:
      failwell agent revoke refund-bot --reason "Its key lay in a public image"
    """
    from failwell.client import powers

    place = session.open_workspace(workspace)
    signer = session.unlock(session.pick_person(person))
    before = stopping.waiting(place)
    done = powers.revoke(place, signer, name, reason)
    left = sorted(stopping.waiting(place) - before)
    confirmed = done.confirmed or stopping.carried_out_by_a_new_node(place, left)

    def show(screen: Screen) -> None:
        if confirmed:
            where = "" if done.entry is None else f" (entry {done.entry})"
            screen.lead(
                f"The key and certificates of {name} are void{where}: nobody proves to be it.",
                f"To let it act again: failwell agent rekey {name}",
                bad=True,
            )
            return
        told = sum(item.sent for item in done.sent)
        screen.lead(
            f"ORDERED, NOT CONFIRMED: {name}: {done.why}.",
            f"The signed order waits in orders/; {told} of {plural(len(done.sent), 'running tool')} told to stop. "
            "Look: failwell doctor",
            bad=True,
        )

    sent = [{"action": item.action, "pid": item.pid, "sent": item.sent} for item in done.sent]
    fields = {"agent": name, "confirmed": confirmed, "entry": done.entry, "why": done.why, "told": sent}
    return Answer(fields=fields, show=show, finding=not confirmed)


@door("agent-rekey")
def rekey(
    name: Name, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Give an agent a new key, by an operator's order.

    The new key lies in this configuration directory, where the old one lay; all certificates of the old one are void.

    \b
    Example:
      failwell agent rekey refund-bot
    """
    from failwell.core import orders

    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        full, _ = find_agent(wire, name)
    about = [f"{name} gets a new key; the old one and its certificates prove nothing any more"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        path, key = _next_key(place, full)
        public = base64.b64encode(key.public).decode()
        entry = hand.give("agent.rekey", orders.AgentRekey(agent=full, key=public))
        path.rename(path.with_name(path.name.removesuffix(".next")))

    def show(screen: Screen) -> None:
        screen.lead(
            f"{name} has a new key (entry {entry}); the one before and its certificates are void.",
            f"It lies in {path.parent}: whoever runs the agent needs it.",
        )

    return Answer(fields={"agent": full, "key": public, "key_id": key.key_id, "entry": entry}, show=show)


def _next_key(place: Workspace, agent: str) -> tuple[Path, SigningKey]:
    """The key of an earlier attempt that came to nothing, else a new one: on disk before anybody orders it."""
    from failwell.identity import keys, names

    final = names.agent_key_path(session.config_directory(), place.origin(), agent)
    path = final.with_name(f"{final.name}.next")
    try:
        return path, keys.load_key(path)
    except NotFound:
        key = keys.generate()
        keys.save_key(path, key)
        return path, key


def credentials(row: dict[str, Any]) -> dict[str, Any]:
    """What an agent's row says of its key and of the certificates that are in force."""
    import hashlib
    import time

    from failwell.core.instants import format_at

    public = None if row["key"] is None else base64.b64decode(row["key"])
    now_us = time.time_ns() // 1000
    held = [
        {"serial": serial, "not_after": format_at(until_us), "entry": entry}
        for serial, _, until_us, entry in row["certificates"]
        if until_us > now_us
    ]
    return {
        "key": None if public is None else hashlib.sha256(public).hexdigest()[:16],
        "revoked": public is None, "keyed": row["keyed"], "certificates": held,
    }  # fmt: skip


def credential_facts(row: dict[str, Any]) -> list[tuple[str, Any]]:
    """The same as lines for a person."""
    told = credentials(row)
    key = "REVOKED: nobody proves to be it" if told["revoked"] else f"{told['key']} (entry {told['keyed']})"
    held = told["certificates"]
    until = "none" if not held else f"{len(held)}, the last until {clock(max(each['not_after'] for each in held))}"
    return [("key", key), ("certificates", until)]
