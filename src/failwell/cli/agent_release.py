"""`agent release`: give authority back, by two persons; by one alone in an emergency, which another one reviews."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.lookup import entries_of, find_agent
from failwell.cli.screen import Answer, Screen, door, span
from failwell.core.errors import InputError, NotFound

app = typer.Typer(help="Give authority back: one person proposes, another approves.")

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Its short name or full SPIFFE id.")]
Incident = Annotated[
    int | None,
    typer.Option("--incident", metavar="N", show_default=False, help="Default: the one it is held for."),
]  # fmt: skip
MINUTE_US = 60_000_000
#: What is said where both orders came from one user of the operating system.
NOT_SEPARATED = (
    "NOT SEPARATED: both orders came from one user of this machine, so nothing shows that they are two persons."
)


@app.command("propose")
@door("agent-release-propose")
def propose(
    name: Name,
    conditions: Annotated[str, typer.Option(metavar="TEXT", help="Under which conditions, for the approver.")],
    evidence: Annotated[str, typer.Option(metavar="ENTRIES", help="The entries it rests on, such as 1198,1204.")],
    incident: Incident = None,
    authority: Annotated[
        str, typer.Option(metavar="WORD", help="PROBATION, or out of it (or of RESTRICTED) ACTIVE.")
    ] = "PROBATION",
    probation: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long PROBATION lasts at least. Default: 4h, 24h or 72h, by severity."),
    ] = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Propose to give authority back; another person approves.

    A suspended agent comes back on PROBATION: with tightened bounds, and suspended again by one major signal or three
    minor ones in ten minutes. What was proposed is void as soon as its case, or what binds the agent, stands otherwise.

    \b
    Examples:
      failwell agent release propose refund-bot --conditions "Template fixed" --evidence 1204,1334
      failwell agent release propose refund-bot --probation 7d --conditions "Template fixed" --evidence 1204
      failwell agent release propose refund-bot --authority ACTIVE --conditions "Nothing for a week" --evidence 2210
    """
    cited, word, minutes = entries_of(evidence), authority.upper(), _minutes(probation, "--probation")
    if word not in ("PROBATION", "ACTIVE"):
        raise InputError(f"--authority {authority}: authority is given back as PROBATION or ACTIVE")
    if word == "ACTIVE" and probation is not None:
        raise InputError("--probation is said of a release into PROBATION", hint="Leave out --authority.")
    place = session.open_workspace(workspace)
    about = [f"{name} is to act again, {'in PROBATION' if word == 'PROBATION' else 'in full'}"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        number = incident or _incident_of(place, name)
        entry = hand.propose_release(number, name, conditions, cited, authority=word, minutes=minutes)
    told = _told(place, number)["proposed"]

    def show(screen: Screen) -> None:
        still = "It is still suspended." if word == "PROBATION" else "It acts on as it does until then."
        screen.lead(
            f"The release of {name} is proposed (entry {entry}). {still}",
            "Another person approves it, who neither proposed it, suspended the agent, nor changed its contract since:",
        )  # fmt: skip
        screen.command(f"failwell agent release approve {name} --incident {number} --as PERSON")
        if told["notified"] not in ("mail", ""):
            screen.say(f"No mail is set up: that {told['notified']} took the case stands for people having been told.")
        if told["probation_ms"] is not None:
            screen.say(f"Its probation lasts {span(told['probation_ms'] * 1000)} at least.")

    fields = {
        "agent": name, "incident": number, "entry": entry, "evidence": list(cited), "authority": word,
        "probation_ms": told["probation_ms"], "notified": told["notified"],
    }  # fmt: skip
    return Answer(fields=fields, show=show)


@app.command("approve")
@door("agent-release-approve")
def approve(
    name: Name, incident: Incident = None, workspace: options.Workspace = None, person: options.As = None,
    yes: options.Yes = False, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Approve the release that stands proposed.

    That takes an approver who neither proposed it, nor suspended the agent, nor signed or adopted what binds it since
    the incident, nor was enrolled since by one of those.

    \b
    Example:
      failwell agent release approve refund-bot --as cleo
    """
    place = session.open_workspace(workspace)
    with session.take_hand(place, person, yes=yes, about=[f"{name} acts again, as it was proposed"]) as hand:
        number = incident or _incident_of(place, name)
        entry = hand.approve_release(number, name)
    given = _told(place, number)["given"][-1]

    def show(screen: Screen) -> None:
        if given["authority"] == "ACTIVE":
            screen.lead(f"{name} acts in full again (entry {entry}).", f"See: failwell agent show {name}")
        else:
            screen.lead(
                f"{name} is released into PROBATION (entry {entry}): it acts again, under tightened bounds.",
                f"Until {given['until']} at least. What that means: failwell agent show {name}",
            )
        if given["separated"] == "no":
            screen.say(NOT_SEPARATED, "red")

    fields = {
        "agent": name, "incident": number, "entry": entry, "authority": given["authority"], "until": given["until"],
        "separated": given["separated"],
    }  # fmt: skip
    return Answer(fields=fields, show=show)


@app.command("break-glass")
@door("agent-release-break-glass")
def break_glass(
    name: Name,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it cannot wait for a second person.")],
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="How long, at most 24h.")] = "1h",
    incident: Incident = None, workspace: options.Workspace = None, person: options.As = None,
    yes: options.Yes = False, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Give a suspended agent back alone, in an emergency.

    An approver or operator may who did not suspend it, once in a case. Everybody who operates is paged at once. It
    acts in PROBATION, and is suspended again by itself when the time is over, unless another approver upholds it.

    \b
    Example:
      failwell agent release break-glass refund-bot --for 30m --reason "No refund reaches anybody" --as cleo
    """
    minutes = _minutes(duration, "--for")
    if not 1 <= minutes <= 24 * 60:
        raise InputError(f"--for {duration}: from 1m to 24h")
    place = session.open_workspace(workspace)
    about = [f"{name} acts again for {duration} by your word alone; everybody who operates is told, a review is owed"]
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        number = incident or _incident_of(place, name)
        entry = hand.break_release(number, name, reason, minutes)
        who = hand.person
    given = _told(place, number)["given"][-1]

    def show(screen: Screen) -> None:
        screen.lead(
            f"{name} acts again in PROBATION (entry {entry}), by {who} alone, until {given['until']}.",
            "Then it is suspended again. Another approver reviews this now:",
        )
        screen.command(f'failwell agent release review {name} --incident {number} --uphold --why "..." --as PERSON')

    fields = {"agent": name, "incident": number, "entry": entry, "person": who, "until": given["until"]}
    return Answer(fields=fields, show=show)


@app.command("review")
@door("agent-release-review")
def review(
    name: Name,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Your reasons; kept so that they can be erased.")],
    uphold: Annotated[bool, typer.Option("--uphold/--reject", help="Whether it was right.", show_default=False)],
    incident: Incident = None, workspace: options.Workspace = None, person: options.As = None,
    yes: options.Yes = False, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Review what another person gave back alone.

    Upheld while it goes on, it is a PROBATION by two persons from here on: so its containment has to be complete.
    Rejected, the agent is suspended again at once.

    \b
    Examples:
      failwell agent release review refund-bot --uphold --why "The queue could not wait" --as dora
      failwell agent release review refund-bot --reject --why "There was time to ask" --as dora
    """
    place = session.open_workspace(workspace)
    then = "stands by two from now on" if uphold else "is suspended again"
    with session.take_hand(place, person, yes=yes, about=[f"what was given back of {name} alone {then}"]) as hand:
        number = incident or _reviewed_of(place, name)
        entry = hand.review_release(number, why, upheld=uphold)
    with session.reach_node(place) as wire:
        _, row = find_agent(wire, name)

    def show(screen: Screen) -> None:
        said = "upheld" if uphold else "not upheld"
        screen.lead(
            f"What one person alone gave back of {name} was {said} (entry {entry}).",
            f"{name} is {row['authority']} now.",
        )  # fmt: skip

    fields = {"agent": name, "incident": number, "entry": entry, "upheld": uphold, "authority": row["authority"]}
    return Answer(fields=fields, show=show)


def _minutes(text: str | None, option: str) -> int:
    from failwell.core.contract.duration import parse_duration

    if text is None:
        return 0
    length_us = parse_duration(text)
    if length_us < MINUTE_US or length_us % MINUTE_US:
        raise InputError(f"{option} {text}: whole minutes, such as 30m, 24h or 7d")
    return length_us // MINUTE_US


def _told(place: Any, number: int) -> dict[str, Any]:
    """What was done about giving back in an incident."""
    with session.reach_node(place) as wire:
        told: dict[str, Any] = wire.call("ask", about="incident", key=number)["release"]
    return told


def _incident_of(place: Any, name: str) -> int:
    """The incident that an agent is held for, or on probation from."""
    with session.reach_node(place) as wire:
        _, row = find_agent(wire, name)
    probation = row["probation"]
    number = row["incident"] if row["incident"] is not None or probation is None else probation[0]
    if number is not None:
        return int(number)
    if row["authority"] != "SUSPENDED":
        raise NotFound(f"{name} is not suspended: it is {row['authority']}", hint=f"failwell agent show {name}")
    raise NotFound(f"{name} is suspended for no incident", hint="failwell incident list; then --incident N")


def _reviewed_of(place: Any, name: str) -> int:
    """The newest incident of an agent in which one person alone gave it back, and that is owed a review."""
    with session.reach_node(place) as wire:
        full, _ = find_agent(wire, name)
        rows: dict[str, Any] = wire.call("ask", about="incidents")
    owed = [int(number) for number, row in rows.items() if row["agent"] == full and row["broken"] is not None]
    if not owed:
        raise NotFound(f"nothing that one person alone gave back of {name} is owed a review")
    return max(owed)
