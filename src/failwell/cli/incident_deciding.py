"""`incident raise|lower|dismiss|serious|merge|reopen|resolve|claim|close`: what people decide about a case.

One person makes it graver or opens it again. What takes from it is proposed by one and agreed to by another (--agree).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.incident import Number
from failwell.cli.incident_cases import Text, one_of, said
from failwell.cli.screen import Answer, Screen, door
from failwell.core.errors import InputError, Refused

if TYPE_CHECKING:
    from failwell.core import orders as o

Severity = Annotated[str, typer.Argument(metavar="SEVERITY", help="minor, major or critical.")]
Reason = Annotated[str, typer.Argument(metavar="REASON", help="Why. It stands in the record.")]
Because = Annotated[str | None, typer.Option("--because", metavar="WHY", help="Propose it, for this reason.")]
Agree = Annotated[bool, typer.Option("--agree", help="As a second person: agree to what is proposed.")]
_SEVERITIES = ("minor", "major", "critical")
_CHANGES = ("contract", "tool", "prompt", "model", "roster", "training", "other")
#: What is agreed to, in words, and the command that does it.
WORDS = {
    "severity": "a lower severity", "false-alarm": "that it is a false alarm",
    "none": "that nothing is to be changed", "not-serious": "that it is not serious",
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands to `incident`."""
    app.command("raise")(raise_severity)
    app.command("lower")(lower)
    app.command("dismiss")(dismiss)
    app.command("serious")(serious)
    app.command("merge")(merge)
    app.command("reopen")(reopen)
    app.command("resolve")(resolve)
    app.command("claim")(claim)
    app.command("close")(close)


class _Given:
    """The options of one command that signs."""

    def __init__(self, workspace: str | None, person: str | None, *, yes: bool) -> None:
        self.place = session.open_workspace(workspace)
        self.person = person
        self.yes = yes

    def order(self, kind: str, details: o.Details, about: str) -> tuple[Any, str]:
        """(entry, who) of an order that was signed and carried out."""
        with session.take_hand(self.place, self.person, yes=self.yes, about=[about]) as hand:
            return hand.give(kind, details), hand.person

    def agree(self, number: int, what: str) -> Answer:
        """Agree to what stands proposed of an incident, if it is `what` the command is for."""
        from failwell.core import orders as o

        with session.take_hand(self.place, self.person, yes=self.yes, about=[f"you agree to {WORDS[what]}"]) as hand:
            proposed = hand.proposed_of(number)
            if proposed is None or proposed["what"] != what:
                stands = "nothing is" if proposed is None else f"what is, is {WORDS[proposed['what']]}"
                raise Refused(
                    f"{WORDS[what]} is not proposed of incident {number}: {stands}",
                    hint=f"failwell incident show {number}",
                )
            entry = hand.give("incident.agree", o.IncidentAgree(incident=number, proposal=proposed["digest"]))
            name = hand.person
        with session.reach_node(self.place) as wire:
            row = wire.call("ask", about="incidents")[str(number)]

        def show(screen: Screen) -> None:
            screen.lead(
                f"{proposed['person']} and {name} decided {WORDS[what]} (entry {entry}). Incident {number} is "
                f"{row['severity']}, {row['state']}.",
                f"All of it: failwell incident show {number}",
            )

        fields = {"incident": number, "agreed": what, "by": [proposed["person"], name], "entry": entry,
                  "state": row["state"], "severity": row["severity"]}  # fmt: skip
        return Answer(fields=fields, show=show)

    def propose(self, number: int, what: str, value: str, reason: str, command: str) -> Answer:
        """Propose what takes a second person."""
        from failwell.core import orders as o

        details = o.IncidentPropose(incident=number, what=what, value=value, reason=reason)
        entry, name = self.order(
            "incident.propose", details, f"you propose {WORDS[what]} of incident {number}: {reason}"
        )

        def show(screen: Screen) -> None:
            screen.lead(
                f"Proposed of incident {number}: {WORDS[what]} (entry {entry}). Nothing has changed yet.",
                f"Another person, an approver, agrees: failwell incident {command} {number} --agree --as PERSON",
            )

        return Answer(fields={"incident": number, "proposed": what, "person": name, "entry": entry}, show=show)

    def done(self, number: int, kind: str, details: o.Details, about: str, next_step: str) -> Answer:
        """One person's order, and what is next."""
        entry, name = self.order(kind, details, about)

        def show(screen: Screen) -> None:
            screen.lead(f"{about[0].upper()}{about[1:]} (entry {entry}).", next_step)

        return Answer(fields={"incident": number, "order": kind, "person": name, "entry": entry}, show=show)


def _one(reason: str | None, agree: bool, what: str) -> str | None:
    """The reason of a proposal, None where somebody agrees; one of both is given."""
    if agree == (reason is not None):
        raise InputError(f"{what} is proposed with a reason, or agreed to with --agree", hint="One of both.")
    return reason


@door("incident-raise")
def raise_severity(
    number: Number, severity: Severity, reason: Reason,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """It is worse than it was taken for. One person's word is enough.

    \b
    Example:
      failwell incident raise 1 critical "Two of the customers lost money"
    """
    from failwell.core import orders as o

    one_of(severity, _SEVERITIES, "SEVERITY")
    details = o.IncidentRaise(incident=number, severity=severity, reason=reason)
    given = _Given(workspace, person, yes=yes)
    return given.done(number, "incident.raise", details, f"incident {number} is {severity}",
                      f"What is due by when: failwell incident show {number}")  # fmt: skip


@door("incident-lower")
def lower(
    number: Number,
    severity: Annotated[str | None, typer.Argument(metavar="[SEVERITY]", help="minor or major.")] = None,
    because: Because = None,
    agree: Agree = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """It is not as bad as it was taken for: one person proposes, another agrees.

    \b
    Examples:
      failwell incident lower 1 minor --because "All three refunds were called back" --as olga
      failwell incident lower 1 --agree --as piet
    """
    reason, given = _one(because, agree, "a lower severity"), _Given(workspace, person, yes=yes)
    if reason is None:
        return given.agree(number, "severity")
    if severity is None:
        raise InputError("lower to what?", hint=f'failwell incident lower {number} minor --because "..."')
    return given.propose(number, "severity", one_of(severity, _SEVERITIES, "SEVERITY"), reason, "lower")


@door("incident-dismiss")
def dismiss(
    number: Number,
    because: Because = None,
    agree: Agree = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """It was a false alarm: one person proposes, another agrees. The next signal opens a new case all the same.

    \b
    Examples:
      failwell incident dismiss 1 --because "The load test of the shop, by mistake against production" --as olga
      failwell incident dismiss 1 --agree --as piet
    """
    reason, given = _one(because, agree, "a false alarm"), _Given(workspace, person, yes=yes)
    if reason is None:
        return given.agree(number, "false-alarm")
    return given.propose(number, "false-alarm", "-", reason, "dismiss")


@door("incident-serious")
def serious(
    number: Number,
    reason: Annotated[str | None, typer.Argument(metavar="[REASON]", help="Why. It stands in the record.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Propose that it is not serious after all.")] = False,
    agree: Agree = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Mark an incident as serious (Article 73 of the AI Act): a person's mark, with legal consequence.

    From then on nothing that loosens is put in force for its agent before an authority was informed.

    \b
    Examples:
      failwell incident serious 1 "A customer's health data went to a stranger"
      failwell incident serious 1 "It was test data" --withdraw --as olga
      failwell incident serious 1 --agree --as piet
    """
    from failwell.core import orders as o

    given, why = _Given(workspace, person, yes=yes), _one(reason, agree, "what is serious")
    if why is None:
        return given.agree(number, "not-serious")
    if withdraw:
        return given.propose(number, "not-serious", "-", why, "serious")
    details = o.IncidentSerious(incident=number, reason=why)
    return given.done(number, "incident.serious", details, f"incident {number} is serious",
                      f'Once an authority knows: failwell incident inform {number} --authority "..."')  # fmt: skip


@door("incident-merge")
def merge(
    number: Number,
    into: Annotated[int, typer.Argument(metavar="INTO", min=1, help="The incident that it is told in from now on.")],
    reason: Reason,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """It is the same failure as another one, and told there. What it stopped and holds stays its own.

    The other one takes over the worse severity, the earlier beginning and a mark as serious. New signals go there.

    \b
    Example:
      failwell incident merge 3 1 "Both come from the template service"
    """
    from failwell.core import orders as o

    details = o.IncidentMerge(incident=number, into=into, reason=reason)
    given = _Given(workspace, person, yes=yes)
    return given.done(number, "incident.merge", details, f"incident {number} is told in incident {into}",
                      f"All of it: failwell incident show {into}")  # fmt: skip


@door("incident-reopen")
def reopen(
    number: Number, reason: Reason,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """It is not over. One person's word is enough.

    \b
    Example:
      failwell incident reopen 1 "A fourth customer called"
    """
    from failwell.core import orders as o

    given = _Given(workspace, person, yes=yes)
    return given.done(number, "incident.reopen", o.IncidentReopen(incident=number, reason=reason),
                      f"incident {number} is open again",
                      f"Take it: failwell incident acknowledge {number}")  # fmt: skip


@door("incident-resolve")
def resolve(
    number: Number, reason: Reason,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Nothing more goes wrong, and it is known what contributed. What is left is to learn from it.

    \b
    Example:
      failwell incident resolve 1 "The template service is back; the loop ended"
    """
    from failwell.core import orders as o

    given = _Given(workspace, person, yes=yes)
    return given.done(
        number, "incident.resolve", o.IncidentResolve(incident=number, reason=reason), f"incident {number} is resolved",
        f'Something is changed: failwell incident claim {number} KIND "..."; nothing is: failwell incident close '
        f"{number} --none WHY",
    )  # fmt: skip


@door("incident-claim")
def claim(
    number: Number,
    change: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(_CHANGES)}.")],
    text: Text,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say what was changed so that it does not happen again. Claimed is not proven: the incident stays open for that.

    \b
    Example:
      failwell incident claim 1 contract "Version 8: one notice per customer and hour"
    """
    from failwell.core import orders as o

    one_of(change, _CHANGES, "KIND")
    words, given = said(text), _Given(workspace, person, yes=yes)
    about = [f"changed because of incident {number} ({change}): {words[:200]}"]
    with session.take_hand(given.place, person, yes=yes, about=about) as hand:
        entry = hand.write(
            "incident.claim", words,
            lambda digest: o.IncidentClaim(incident=number, change=change, words=str(digest)),
        )  # fmt: skip

    def show(screen: Screen) -> None:
        screen.lead(f"Claimed for incident {number}: another {change} (entry {entry}). It is not proven by that.",
                    "The incident is not closed before it is.")  # fmt: skip

    return Answer(fields={"incident": number, "change": change, "entry": entry}, show=show)


@door("incident-close")
def close(
    number: Number,
    none: Annotated[
        str | None, typer.Option("--none", metavar="WHY", help="Propose that nothing is changed, for this reason.")
    ] = None,
    agree: Agree = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Close a resolved incident: with a reasoned "none" by two persons. Without options: once nothing of it is open.

    \b
    Examples:
      failwell incident close 1 --none "The gate held; a limit did what it is for" --as olga
      failwell incident close 1 --agree --as piet
      failwell incident close 1
    """
    from failwell.core import orders as o

    given = _Given(workspace, person, yes=yes)
    if agree and none is not None:
        raise InputError("one of --none and --agree", hint="failwell incident close --help")
    if agree:
        return given.agree(number, "none")
    if none is not None:
        return given.propose(number, "none", "-", none, "close")
    return given.done(number, "incident.close", o.IncidentClose(incident=number), f"incident {number} is closed",
                      "A new signal opens a new one.")  # fmt: skip
