"""An incident's customers: what reached each, a letter to them, and that they were told and made whole (R11)."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.incident_impact import Number, impact_told
from failwell.cli.screen import Answer, Screen, door, plural
from failwell.core.errors import InputError, NotFound

if TYPE_CHECKING:
    from failwell.core.orders import Details

Whom = Annotated[list[str], typer.Argument(metavar="CUSTOMER...", help="As `incident customers N` names them.")]
File = Annotated[str | None, typer.Option("--file", metavar="FILE", help="A file with it; - is standard input.")]
MAX_TEXT = 20_000


def register(app: typer.Typer) -> None:
    """Add the commands to `incident`."""
    for name, command in (
        ("customers", list_customers), ("draft", show_draft), ("told", tell_customers), ("whole", restore_customers),
    ):  # fmt: skip
        app.command(name)(command)


@door("incident-customers")
def list_customers(
    number: Number, workspace: options.Workspace = None, as_json: options.AsJson = False
) -> Answer:  # fmt: skip
    """List its customers: what reached each, who was told, who is whole.

    \b
    Examples:
      failwell incident customers 1
      failwell incident customers 1 --json
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = impact_told(wire, number)
    found = told["customers"]
    harmed = [one for one in found if one["wrong"]]
    untold = [one["name"] for one in harmed if one["told"] is None]
    owed = [one["name"] for one in harmed if one["restored"] is None]

    def show(screen: Screen) -> None:
        asked = f"Of each: failwell incident impact {number}"
        if untold:
            asked = f"Tell the next one: failwell incident draft {number} --customer {untold[0]}"
        elif owed:
            asked = f'Make the next one whole: failwell incident whole {number} {owed[0]} --text "..."'
        screen.lead(
            f"{plural(len(harmed), 'customer')} reached by wrong acts: {len(untold)} not told, {len(owed)} not whole.",
            asked, bad=bool(untold),
        )  # fmt: skip
        rows = [
            (
                one["name"], one["wrong"], one["touched"], one["perhaps"] or None, one["undone"] or None,
                ", ".join(f"{amount} ({tool})" for tool, amount in one["amounts"].items()) or None,
                _said(one["told"], one["wrong"]), _said(one["restored"], one["wrong"]), one["shown"],
            )
            for one in found
        ]  # fmt: skip
        columns = ("customer", "wrong", "all", "perhaps", "undone", "amount", "told", "whole", "entry")
        if found:
            screen.table(columns, rows, right=("wrong", "all", "perhaps", "undone", "entry"))

    return Answer(fields={"incident": number, "customers": found, "not_told": untold, "not_whole": owed}, show=show)


def _said(entry: int | None, wrong: int) -> str:
    return f"entry {entry}" if entry is not None else "NO" if wrong else "-"


@door("incident-draft")
def show_draft(
    number: Number,
    customer: Annotated[str, typer.Option("--customer", metavar="CUSTOMER", help="Whom the letter is to.")],
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Draft the letter to one customer, in plain words. Nothing is sent.

    Read it, change it, send it yourself, and say so: failwell incident told N CUSTOMER.

    \b
    Example:
      failwell incident draft 1 --customer C-1009 > letter.txt
    """
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        told = wire.call("ask", about="customer-draft", key={"incident": number, "customer": customer}, timeout_s=120)

    def show(screen: Screen) -> None:
        screen.say(told["text"].rstrip("\n"))

    return Answer(fields=told, show=show)


# ---- what people say of them -------------------------------------------------------------------------------------


@door("incident-told")
def tell_customers(
    number: Number, customers: Whom,
    how: Annotated[
        str, typer.Option("--how", metavar="WAY", help="mail, phone, letter, message, meeting or other.")
    ] = "mail",
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="What they were told.")] = None,
    file: File = None,
    drafted: Annotated[bool, typer.Option("--drafted", help="They were sent the draft as it is.")] = False,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say that customers were told what happened to them, and with which words.

    The words lie encrypted in the record, bound to your order by their digest.

    \b
    Examples:
      failwell incident told 1 C-1009 --how mail --file letter.txt --as anna
      failwell incident told 1 C-1009 C-2210 --drafted --as anna
    """
    from failwell.core.orders import CustomerTell

    ways = ("mail", "phone", "letter", "message", "meeting", "other")
    if how not in ways:
        raise InputError(f"--how {how} is no way to tell somebody", hint=f"One of {', '.join(ways)}.")
    words = None if drafted else _words(text, file, ", or --drafted")
    if drafted and (text is not None or file is not None):
        raise InputError("--drafted says that they were sent the draft", hint="Leave out --text and --file.")

    def make(one: dict[str, Any], digest: str) -> Details:
        return CustomerTell(incident=number, customer=one["customer"], shown=one["shown"], how=how, words=digest)

    about = [f"you say that {', '.join(customers)} were told, by {how}"]
    entries = _say(workspace, person, number, customers, words, "customer.tell", make, yes=yes, about=about)

    def show(screen: Screen) -> None:
        screen.lead(
            f"{plural(len(entries), 'customer')} of incident {number} told: {', '.join(customers)}.",
            f"Who is left: failwell incident customers {number}",
        )

    return Answer(fields={"incident": number, "how": how, "told": entries}, show=show)


@door("incident-whole")
def restore_customers(
    number: Number, customers: Whom,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="How: what was paid back.")] = None,
    file: File = None,
    workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say that customers were made whole, or needed nothing, and how.

    \b
    Example:
      failwell incident whole 1 C-1009 --text "49.90 paid back, booking 7731" --as anna
    """
    from failwell.core.orders import CustomerRestore

    words = _words(text, file)

    def make(one: dict[str, Any], digest: str) -> Details:
        return CustomerRestore(incident=number, customer=one["customer"], shown=one["shown"], words=digest)

    about = [f"you say that {', '.join(customers)} were made whole"]
    entries = _say(workspace, person, number, customers, words, "customer.restore", make, yes=yes, about=about)

    def show(screen: Screen) -> None:
        screen.lead(
            f"{plural(len(entries), 'customer')} of incident {number} made whole: {', '.join(customers)}.",
            f"Who is left: failwell incident customers {number}",
        )

    return Answer(fields={"incident": number, "whole": entries}, show=show)


def _words(text: str | None, file: str | None, instead: str = "") -> str:
    """What a person wrote, from the line or a file; `instead` of which the command takes something else too."""
    if (text is None) == (file is None):
        raise InputError("what they were told or given is missing", hint=f"--text TEXT, or --file FILE{instead}")
    if text is None:
        raw = sys.stdin.buffer.read(4 * MAX_TEXT + 1) if file == "-" else Path(str(file)).read_bytes()
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not UTF-8 text") from error
    if not text.strip() or len(text) > MAX_TEXT:
        raise InputError(f"the text is empty, or longer than {MAX_TEXT} characters")
    return text


def _say(
    workspace: str | None, person: str | None, number: int, named: list[str], words: str | None, kind: str,
    make: Any, *, yes: bool, about: list[str],
) -> dict[str, int]:  # fmt: skip
    """Give one order for each customer; what was given before one fails stands. Without words: the draft to each."""
    place = session.open_workspace(workspace)
    with session.reach_node(place) as wire:
        known = impact_told(wire, number)["customers"]
        found = [_find(known, number, each) for each in dict.fromkeys(named)]
        texts = [
            words
            or wire.call("ask", about="customer-draft", key={"incident": number, "customer": one["customer"]})["text"]
            for one in found
        ]
    entries = {}
    with session.take_hand(place, person, yes=yes, about=about) as hand:
        for one, text in zip(found, texts, strict=True):
            entries[one["name"]] = int(hand.write(kind, text, functools.partial(make, one)))
    return entries


def _find(known: list[dict[str, Any]], number: int, named: str) -> dict[str, Any]:
    for one in known:
        if named in (one["name"], one["customer"]):
            return one
    raise NotFound(
        f"incident {number} reached no customer {named}, as far as the record shows",
        hint=f"failwell incident customers {number}",
    )
