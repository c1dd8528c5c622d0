"""`person`: who may use human powers here, and the keys they sign with."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural, tell
from failwell.core.errors import InputError, NotFound

if TYPE_CHECKING:
    from failwell.identity.persons import Signer

app = typer.Typer(help="Who may use human powers here, and their keys.")


class Enrolled(NamedTuple):
    """Who is to be enrolled, by name alone: the key stays with its holder."""

    person: str


Name = Annotated[str, typer.Argument(metavar="NAME", help="a-z, digits, '.', '_' and '-'.")]


@app.command("add")
@door("person-add")
def add(
    name: Name,
    email: Annotated[str | None, typer.Option(metavar="ADDR", help="Where this person is told of incidents.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE", help="operator, approver or reviewer; once for each.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="PUBLIC", help="A key brought from elsewhere (failwell person key).")
    ] = None,
    proof: Annotated[str | None, typer.Option(metavar="PROOF", help="The proof that came with it.")] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Enrol a person, by an operator's signed order.

    Without --key the person's key is made in this configuration directory. Two persons who share an account of the
    operating system are not separated, and doctor says so: let the second one run `failwell person key` as
    themselves, and enrol what it prints.

    \b
    Examples:
      failwell person add bert --email bert@example.org --role approver --as anna
      failwell person add bert --email bert@example.org --role approver --key ... --proof ...
    """
    from failwell.identity.names import check_name

    check_name(name, "person")
    place = session.open_workspace(workspace)
    if (key is None) != (proof is None):
        raise InputError("--key and --proof belong together", hint="Both are printed by: failwell person key NAME")
    try:
        signing = session.pick_person(person, but=name)
    except NotFound as error:
        raise NotFound(
            "nobody whose key is here can sign this order",
            hint=f"failwell person key {name} prints what an operator needs to enrol {name}.",
        ) from error
    if key is None:
        public, proof = _brought(session.own_person_key(name), place.origin())
    else:
        public = key
    if email is None:
        tell(f"Without --email, {name} cannot be told of incidents, and can own no agent.")
    with session.take_hand(place, signing.person, yes=yes, about=_about(name, email)) as hand:
        entry = hand.enrol(Enrolled(name), public, str(proof), tuple(role or ()), email)

    def show(screen: Screen) -> None:
        held = ", ".join(role or ()) or "no role"
        owns = f"To own an agent they must be reached: failwell person verify {name}"
        screen.lead(f"{name} is enrolled with {held} (entry {entry}).", owns if email else "See: failwell person list")

    fields = {"person": name, "roles": list(role or ()), "key": public, "entry": entry}
    return Answer(fields=fields, show=show)


@app.command("key")
@door("person-key")
def show_key(
    name: Name,
    origin: Annotated[
        str | None, typer.Option(metavar="ORIGIN", help="The ledger's name, where the workspace is not here.")
    ] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Print what an operator needs to enrol a person.

    That is the public key and the proof that its holder asks to be enrolled. The key is made if there is none.

    \b
    Example:
      failwell person key bert --origin failwell/0123456789abcdef
    """
    where = origin or session.open_workspace(workspace).origin()
    public, proof = _brought(session.own_person_key(name), where)

    def show(screen: Screen) -> None:
        screen.lead(f"{name} can be enrolled in {where}.", "An operator there runs:")
        screen.command(f"failwell person add {name} --role approver --email ADDR --key {public} --proof {proof}")

    return Answer(fields={"person": name, "origin": where, "key": public, "proof": proof}, show=show)


@app.command("verify")
@door("person-verify")
def verify(
    name: Name,
    code: Annotated[str | None, typer.Option(metavar="CODE", help="The code that came by mail.")] = None,
    vouch: Annotated[bool, typer.Option("--vouch", help="Say that this person was reached, without a code.")] = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Show that a person is reached at their address.

    Whoever owns an agent must be. Without --code a code is mailed to them, good for an hour; they give it back
    themselves. Or another person vouches.

    \b
    Examples:
      failwell person verify anna
      failwell person verify anna --code k7m2p9qx --as anna
      failwell person verify anna --vouch --as bert
    """
    if code is not None and vouch:
        raise InputError("--code and --vouch are two ways: take one")
    place = session.open_workspace(workspace)
    if code is None and not vouch:
        about = [f"a code is mailed to {name}"]
    else:
        about = [f"{name} was reached at the address that they enrolled with"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        if code is None and not vouch:
            hand.ask_contact(name)
            entry = None
        else:
            entry = hand.verify_contact(name, code)

    def show(screen: Screen) -> None:
        if entry is None:
            screen.lead(f"A code is on its way to {name}.", "They give it back, within the hour:")
            screen.command(f"failwell person verify {name} --code CODE --as {name}")
        else:
            screen.lead(f"{name} is reached at their address (entry {entry}).", "They can own agents now.")

    how = "asked" if entry is None else "vouched" if vouch else "code"
    return Answer(fields={"person": name, "how": how, "verified": entry is not None, "entry": entry}, show=show)


@app.command("leave")
@door("person-leave")
def leave(
    name: Name,
    successor: Annotated[str, typer.Option(metavar="PERSON", help="Who is asked to find owners for their agents.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")],
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say that a person is gone, by an operator's order.

    Their key orders nothing any more. Their agents act restricted from that moment, until another person is
    assigned and signs their contract. The successor is told of each.

    \b
    Example:
      failwell person leave anna --successor cleo --reason "Left the company" --as bert
    """
    from failwell.core import orders

    place = session.open_workspace(workspace)
    about = [f"{name} has left; {successor} follows. What {name} owns acts restricted from now on."]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        details = orders.PersonLeave(person=name, successor=successor, reason=reason)
        entry = hand.give("person.leave", details)
    with session.reach_node(place) as wire:
        agents: dict[str, Any] = wire.call("ask", about="agents")
    owned = sorted((row for row in agents.values() if row["owner"] == name), key=lambda row: str(row["name"]))

    def show(screen: Screen) -> None:
        screen.lead(
            f"{name} has left (entry {entry}): their key orders nothing any more.",
            f"{plural(len(owned), 'agent')} without an owner: {successor} is told of each.",
        )
        if owned:
            screen.table(("agent", "authority"), [(row["name"], row["authority"]) for row in owned])
            screen.command("failwell agent assign AGENT --owner PERSON --as OPERATOR")

    found = [{"agent": row["name"], "authority": row["authority"]} for row in owned]
    return Answer(fields={"person": name, "successor": successor, "entry": entry, "agents": found}, show=show)


@app.command("list")
@door("person-list")
def list_persons(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """List the enrolled persons, their roles, and whose key is here.

    \b
    Example:
      failwell person list
    """
    from failwell.identity import keys, persons

    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        rows: dict[str, Any] = wire.call("ask", about="persons")
        agents: dict[str, Any] = wire.call("ask", about="agents")
        origin = str(wire.greeting["origin"])
    here = {key.public for key in persons.PersonKey.list(session.config_directory())}
    found = []
    for name, row in sorted(rows.items()):
        public = base64.b64decode(row["key"])
        owns = sorted(agent["name"] for agent in agents.values() if agent["owner"] == name)
        found.append(
            {
                "person": name, "roles": row["roles"], "key_id": keys.key_id(public), "key": row["key"],
                "key_is_here": public in here, "owns": owns, "entry": row["enrolled"], "contact": _contact(row),
                "vouched_by": row["vouched_by"], "left": row["left"], "successor": row["successor"],
                "enrolled_by": row["by"],
            }
        )  # fmt: skip
    one = _not_separated(rows)

    def show(screen: Screen) -> None:
        screen.lead(f"{plural(len(found), 'person')} of {origin}.", "Add one: failwell person add NAME")
        if one:
            screen.say(
                f"NOT SEPARATED: one user of this machine can sign for {', '.join(one)}. Two of them may be one.",
                "red",
            )
        screen.table(
            ("person", "roles", "owns", "contact", "key", "key is here", "entry"),
            [
                (
                    each["person"], "gone" if each["left"] else ", ".join(each["roles"]) or None,
                    ", ".join(each["owns"]) or None, _in_words(each), each["key_id"],
                    "yes" if each["key_is_here"] else "no", each["entry"],
                )
                for each in found
            ],
            right=("entry",),
        )  # fmt: skip

    return Answer(fields={"origin": origin, "persons": found, "not_separated": one}, show=show)


def _not_separated(rows: dict[str, Any]) -> list[str]:
    """Persons enrolled here whose keys one user of this machine can read, as far as can be seen from here."""
    from failwell.identity.persons import keys_not_separated

    paths = (session.config_directory() / "persons").glob("*.pem")
    shared = {path.stem for group in keys_not_separated(paths).shared for path in group.paths}
    return sorted(name for name in shared if name in rows and rows[name]["left"] is None)


def _contact(row: dict[str, Any]) -> str:
    """How a person is known to be reached: verified by a code, vouched for, unverified, or no address at all."""
    if row["verified"] is not None:
        return "verified" if row["vouched_by"] is None else "vouched"
    return "none" if row["contact"] is None else "unverified"


def _in_words(each: dict[str, Any]) -> str:
    by = each["vouched_by"]
    return str(each["contact"]) if by is None else f"{each['contact']} by {by}"


def _about(name: str, email: str | None) -> list[str]:
    return [f"{name} becomes a person of this workspace, reached at {email or 'no address'}"]


def _brought(signer: Signer, origin: str) -> tuple[str, str]:
    """(public key, proof) in base64."""
    from failwell.identity.persons import prove_enrolment

    return base64.b64encode(signer.key.public).decode(), prove_enrolment(signer, origin)
