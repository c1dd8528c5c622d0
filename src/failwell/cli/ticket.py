"""`ticket`: actions that wait for a person: what each would do and why it waits, and the answer, one at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural
from failwell.core.errors import Corrupt, InputError, Refused

if TYPE_CHECKING:
    from failwell.client.wire import Wire

app = typer.Typer(help="Actions that wait for a person: look, then approve or deny.")

Numbers = Annotated[list[int], typer.Argument(metavar="N", min=0, help="The ticket's number; one at a time.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the record.")]
#: What the agent got, by how the ticket stands.
_GOT = {
    "open": "it waits: nothing runs until somebody approves",
    "approved": "it may run once, if it is judged so again",
    "used": "it was allowed, once",
    "denied": "it is denied",
    "expired": "it is denied: nobody answered in time, or the answer was not used in time",
}


@app.command("list")
@door("ticket-list")
def list_tickets(
    every: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's.")] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """List the actions that wait for a person.

    Those whose time ends first stand at the top.

    How well an answer was looked at is not measured yet: no answer counts as a review.

    \b
    Examples:
      failwell ticket list
      failwell ticket list --all --agent refund-bot --json
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        found: list[dict[str, Any]] = wire.call("ask", about="tickets", key=None if every else "live")
    if not every:
        found = [each for each in found if each["state"] in ("open", "approved")]
    if agent is not None:
        found = [each for each in found if agent in (each["agent"], each["name"])]
    found.sort(key=lambda each: (each["state"] != "open", each["expires_at"], each["ticket"]))
    waiting = [each for each in found if each["state"] == "open"]

    def show(screen: Screen) -> None:
        if not found:
            screen.say("No ticket.")
            return
        asked = f"The first: failwell ticket show {waiting[0]['ticket']}" if waiting else "Nobody is asked now."
        screen.lead(f"{plural(len(waiting), 'action')} {_waits(len(waiting))} for a person.", asked, bad=bool(waiting))
        screen.table(
            ("ticket", "state", "agent", "tool", "because of", "until (UTC)", "asked"),
            [
                (
                    each["ticket"], each["state"], each["name"], each["tool"], ", ".join(each["clauses"]),
                    _until(each["expires_at"]), ", ".join(each["asked"]),
                )
                for each in found
            ],
            right=("ticket",),
        )  # fmt: skip

    return Answer(fields={"tickets": found, "waiting": len(waiting), "measured": False}, show=show)


@app.command("show")
@door("ticket-show")
def show_ticket(
    numbers: Numbers, workspace: options.Workspace = None, as_json: options.AsJson = False
) -> Answer:  # fmt: skip
    """Show what an action would do, for whom and why it waits.

    \b
    Example:
      failwell ticket show 41
    """
    number = _one(numbers)
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = _evidence(wire, number)
    return Answer(fields=_fields(told), show=lambda screen: _show(screen, told))


@app.command("approve")
@door("ticket-approve")
def approve(
    numbers: Numbers, reason: Reason = "no reason was given", workspace: options.Workspace = None,
    person: options.As = None, yes: options.Yes = False, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Let the one action pass, once. It is judged again when it comes back.

    Shows what there is to see before it asks for your passphrase.

    \b
    Example:
      failwell ticket approve 41 --as rita
    """
    from failwell.core.orders import TicketApprove

    number = _one(numbers)
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = _evidence(wire, number)
    _show(Screen(to_stderr=True), told)
    _check_shown(told)
    with session.take_hand(place, person, yes=yes, about=[f"you let {told['name']} do this, once"]) as hand:
        details = TicketApprove(ticket=number, arguments=told["arguments"], reason=reason)
        entry = hand.give("ticket.approve", details)
        approver = hand.person
    with session.reach_node(place) as wire:
        after: dict[str, Any] = wire.call("ask", about="ticket", key=number)

    def show(screen: Screen) -> None:
        screen.lead(
            f"{approver} approved ticket {number} (entry {entry}): {told['name']} may call {told['tool']} once.",
            f"It asks again, with ticket {number}, until {_until(after['expires_at'])} UTC. To take it back: "
            f"failwell ticket deny {number}",
        )

    fields = {"ticket": number, "person": approver, "entry": entry, "good_until": after["expires_at"]}
    return Answer(fields={**fields, "measured": False}, show=show)


@app.command("deny")
@door("ticket-deny")
def deny(
    numbers: Numbers, reason: Reason, workspace: options.Workspace = None, person: options.As = None,
    yes: options.Yes = False, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say no, or take back an approval that was not used yet.

    \b
    Example:
      failwell ticket deny 41 --reason "The order is paid out already" --as rita
    """
    from failwell.core.orders import TicketDeny

    number = _one(numbers)
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = _evidence(wire, number)
    _show(Screen(to_stderr=True), told)
    with session.take_hand(place, person, yes=yes, about=[f"you keep {told['name']} from doing this"]) as hand:
        entry = hand.give("ticket.deny", TicketDeny(ticket=number, reason=reason))
        denier = hand.person

    def show(screen: Screen) -> None:
        screen.lead(
            f"{denier} denied ticket {number} (entry {entry}): {told['name']} does not do this.",
            f"All that it may not do: failwell agent suspend {told['name']} --reason TEXT",
        )

    return Answer(fields={"ticket": number, "person": denier, "entry": entry, "measured": False}, show=show)


def _one(numbers: list[int]) -> int:
    if len(numbers) != 1:
        raise InputError(
            "one ticket at a time: whoever answers several at once has looked at none",
            hint="An answer in bulk would count as no review.",
        )
    return numbers[0]


def _evidence(wire: Wire, number: int) -> dict[str, Any]:
    told: dict[str, Any] = wire.call("ask", about="evidence", key=number)
    return told


def _check_shown(told: dict[str, Any]) -> None:
    """Hold the arguments that were shown against the digest that is signed.

    Attack: a node that shows one action and has another one signed.
    """
    from failwell.ledger.vault import commitment

    text, salt = told["text"], told["salt"]
    if text is None or salt is None:
        raise Refused(f"the arguments of ticket {told['ticket']} are not there to be looked at")
    if commitment(bytes.fromhex(salt), text.encode()) != told["arguments"]:
        raise Corrupt("the arguments that were shown are not those that would be signed", hint="failwell ledger verify")


def _fields(told: dict[str, Any]) -> dict[str, Any]:
    """The evidence for programs: arguments as the value that they are."""
    arguments = None if told["text"] is None else json.loads(told["text"])
    return {**{name: value for name, value in told.items() if name not in ("text", "salt")}, "given": arguments}


# ---- words ---------------------------------------------------------------------------------------------------


def _show(screen: Screen, told: dict[str, Any]) -> None:
    number = told["ticket"]
    waits = told["state"] == "open"
    asked = f"Asked: {', '.join(told['asked'])}, until {_until(told['expires_at'])} UTC; then it is denied."
    if not waits:
        asked = f"The agent: {_GOT[told['state']]}."
    screen.lead(f"Ticket {number} is {told['state']}: {told['name']} wants to call {told['tool']}.", asked, bad=waits)
    screen.say("\nWhat it would do", "bold")
    given = None if told["text"] is None else json.loads(told["text"])
    rows = given.items() if isinstance(given, dict) else [("arguments", given)]
    screen.table(("", ""), [(f"  {name}", json.dumps(value, ensure_ascii=False)) for name, value in rows])
    screen.say("\nFor whom, and why", "bold")
    request = told["request"]
    said = [
        ("on behalf of", told["principal"], told["principal_provenance"]),
        ("request", request["text"], request["provenance"]),
        ("its reason", told["reason"], told["reason_provenance"]),
    ]
    screen.table(("", "", ""), [(f"  {name}", value or "none", f"({how})") for name, value, how in said])
    screen.say(f"  chain: {', '.join(told['chain'])}; contract {told['contract'] or 'none'}")
    screen.say("\nWhat spoke", "bold")
    words = {"escalate": "asks", "deny": "denies", "record": "records"}
    for clause in told["spoke"]:
        screen.say(f"  {clause['id']} {words[clause['then']]}: {clause['because'] or 'no words were kept'}")
    _show_figures(screen, told)
    if waits:
        screen.say(
            f"\nApprove: failwell ticket approve {number} --as PERSON\n"
            f"Deny:    failwell ticket deny {number} --reason TEXT --as PERSON"
        )


def _show_figures(screen: Screen, told: dict[str, Any]) -> None:
    """Facts by value with where each comes from, and how far limits were used."""
    if told["facts"]:
        screen.say("\nFacts it was judged on (amounts in their smallest unit)", "bold")
        rows = [
            (f"  {fact['name']}", json.dumps(fact["value"], ensure_ascii=False), f"({fact['provenance']})")
            for fact in told["facts"]
        ]
        screen.table(("", "", ""), rows)
    for look in told["lookups"]:
        screen.say(f"  {look['fact']} was asked of {look['source']}: {look['state']}")
    if told["limits"]:
        screen.say("\nLimits, before this action", "bold")
        screen.table(("", "used", "at most"), [(f"  {u['limit']}", u["used"], u["at_most"]) for u in told["limits"]])


def _waits(count: int) -> str:
    return "waits" if count == 1 else "wait"


def _until(at: str) -> str:
    return f"{at[:10]} {at[11:19]}"
