"""`contract explain|diff|test`: read what a contract says, what a version changes, and try its examples.

They start nothing and write nothing: what is in force is read beside the node, or from a copy. Whoever signs a version
is shown the same (`show_changes_since`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from failwell.cli import options, session
from failwell.cli.contract_file import File, load_file, load_whole_file, read_file
from failwell.cli.lookup import contract_in_force
from failwell.cli.screen import Answer, Screen, door, plural
from failwell.core.errors import FailwellError, NotFound

if TYPE_CHECKING:
    from failwell.core.contract import Contract, Example, Floor
    from failwell.core.contract.diff import Change
    from failwell.node.workspace import Workspace

_TITLES = {
    "looser": "Looser: the newer version lets more through", "unclear": "Not known: look at it",
    "tighter": "Tighter: the newer version lets less through", "words": "For people: decides nothing",
}  # fmt: skip
_STYLES = {"looser": "bold red", "unclear": "bold yellow", "tighter": "bold", "words": "dim"}

Other = Annotated[
    Path | None,
    typer.Argument(
        metavar="NEWER", show_default=False,
        help="The newer version. Left out: FILE is the newer one, held against the version in force here.",
    ),
]  # fmt: skip
With = Annotated[
    Path | None,
    typer.Option("--with", metavar="FILE", show_default=False, help="Take the examples of this file instead."),
]

Floors = Annotated[
    list[Path] | None,
    typer.Option("--floor", metavar="FILE", show_default=False, help="A floor that it stands on; give each."),
]


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto `contract`."""
    app.command("explain", short_help="Say in plain words what a contract means, tool by tool.")(explain)
    app.command("diff", short_help="Say what a newer version newly allows, denies, asks or bounds.")(diff)
    app.command("test", short_help="Judge a contract's own examples.")(try_examples)


@door("contract-explain")
def explain(file: File, floors: Floors = None, as_json: options.AsJson = False) -> Answer:
    """Say in plain words what a contract means: each tool, what is denied, asked, bounded, and not protected.

    With its floors, their rules stand among its own.

    \b
    Examples:
      failwell contract explain contracts/refund-bot.yaml
      failwell contract explain contracts/refund-bot.yaml --floor contracts/company.yaml
    """
    from failwell.core.contract import under
    from failwell.core.contract.explain import explain as told

    contract = under(load_file(file), _floors(floors))
    parts = told(contract)

    def show(screen: Screen) -> None:
        for part in parts:
            screen.say(part.title, "bold")
            for line in part.lines:
                screen.say(f"  {line}", "yellow" if line.startswith("NOT PROTECTED") else None)
            screen.say()

    fields = {
        "file": str(file), "contract": contract.contract, "version": contract.version,
        "parts": [{"title": part.title, "lines": list(part.lines)} for part in parts],
    }  # fmt: skip
    return Answer(fields=fields, show=show)


@door("contract-diff")
def diff(
    file: File, newer: Other = None, workspace: options.Workspace = None, as_json: options.AsJson = False
) -> Answer:
    """Say in words what a newer version changes: newly allowed, denied, asked of a person, bounded otherwise.

    Exit code 1 when anything is looser, or its effect is not known; 0 when everything is tighter, or nothing changed.

    \b
    Examples:
      failwell contract diff contracts/refund-bot.v6.yaml contracts/refund-bot.v7.yaml
      failwell contract diff contracts/refund-bot.yaml     against the version in force
    """
    from failwell.core.contract.diff import diff as told
    from failwell.core.contract.diff import loosened

    new = load_file(newer or file)
    if newer is not None:
        old = load_file(file)
    else:
        found = in_force(session.open_workspace(workspace), new)
        if found is None:
            raise NotFound(
                f"no contract is in force for {new.agent}",
                hint=f"What this one means: failwell contract explain {file}",
            )
        old = found
    changes = told(old, new)
    loose = loosened(changes)

    def show(screen: Screen) -> None:
        what = f"{old.contract} v{old.version} to {new.contract} v{new.version}"
        if not changes:
            same = "nothing changes" if old.version == new.version else "nothing changes but the version"
            screen.lead(f"{what}: {same}.", "It lets through what the older one let through.")
        elif loose:
            counts = ", ".join(
                f"{len(of)} {word}" for word in ("looser", "unclear") if (of := [c for c in changes if c.means == word])
            )
            screen.lead(f"{what}: LOOSER, or not known to be tighter ({counts}).", "Whoever signs looks at:", bad=True)
        else:
            screen.lead(f"{what}: tighter, as far as it decides anything.", "Nothing is newly allowed.")
        show_changes(screen, changes)

    fields = {
        "from": {"contract": old.contract, "version": old.version},
        "to": {"contract": new.contract, "version": new.version}, "loosened": loose,
        "changes": [{"means": c.means, "about": c.about, "says": c.says} for c in changes],
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=loose)


@door("contract-test")
def try_examples(file: File, examples: With = None, floors: Floors = None, as_json: options.AsJson = False) -> Answer:
    """Judge a contract's own examples, each by itself, by the judge that stands at the gate.

    \b
    Example:
      failwell contract test contracts/refund-bot.yaml
    """
    from failwell.core import contract as contracts

    contract, own = load_whole_file(file)
    taken = own if examples is None else _examples(examples)
    tried = contracts.try_all(contracts.compile(contract, _floors(floors)), taken)
    failed = [one for one in tried if one.problem is not None]

    def show(screen: Screen) -> None:
        if not tried:
            screen.lead(
                f"{examples or file} has no examples: nothing was tried.",
                "Add a list `examples:` of {tool, arguments, expect}; docs/contract-commands.md shows how.",
                bad=True,
            )
        elif failed:
            screen.lead(
                f"{len(failed)} of {plural(len(tried), 'example')} went otherwise than expected.",
                "Mend the contract, or what is expected of it.",
                bad=True,
            )
        else:
            screen.lead(
                f"{plural(len(tried), 'example')} went as expected.",
                f"What the contract means beyond them: failwell contract explain {file}",
            )
        for one in tried:
            by = f" by {', '.join(one.by)}" if one.by else ""
            screen.say(f"  {'FAILED' if one.problem else 'ok    '} {one.about}: {one.verdict}{by}",
                       "bold red" if one.problem else None)  # fmt: skip
            if one.problem:
                screen.say(f"         {one.problem}")

    fields = {
        "contract": contract.contract, "version": contract.version, "tried": len(tried), "failed": len(failed),
        "examples": [
            {"about": one.about, "expect": one.expect, "verdict": one.verdict, "by": list(one.by),
             "because": one.because, "problem": one.problem, "passed": one.problem is None}
            for one in tried
        ],
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=bool(failed) or not tried)


# ---- what is in force ----------------------------------------------------------------------------------------


def in_force(place: Workspace, contract: Contract) -> Contract | None:
    """The version that is in force for this contract's agent; None where there is none."""
    from failwell.core.contract import from_canonical
    from failwell.node.reading import LedgerRows

    with LedgerRows(place) as rows:
        held = rows.contract_of(contract.agent)
    return None if held is None else from_canonical(held.encode())


def show_changes_since(place: Workspace, contract: Contract) -> None:
    """Show whoever is about to sign what a contract changes of the version in force, before the passphrase is asked."""
    from failwell.core.contract.diff import diff as told

    screen = Screen(to_stderr=True)
    try:
        with session.reach_node(place) as wire:
            old = contract_in_force(wire, contract.agent)
    except FailwellError as error:
        screen.say(f"What it changes of the version in force is not known: {error.message}", "bold red")
        return
    if old is None:
        screen.say("No contract is in force for this agent: whatever this one allows is newly allowed.", "bold")
        return
    changes = told(old, contract)
    said = plural(len(changes), "change") if changes else "no change but the version"
    screen.say(f"Against v{old.version}, which is in force: {said}.", "bold")
    show_changes(screen, changes)
    screen.say()


def show_changes(screen: Screen, changes: tuple[Change, ...]) -> None:
    """Changes under what they mean, looser ones first."""
    for means, title in _TITLES.items():
        found = [change for change in changes if change.means == means]
        if found:
            screen.say()
            screen.say(title, _STYLES[means])
            for change in found:
                screen.say(f"  {change.about}: {change.says}")


def _floors(files: list[Path] | None) -> list[Floor]:
    from failwell.core.contract import load_floor

    return [load_floor(read_file(file), name=str(file)) for file in files or ()]


def _examples(file: Path) -> tuple[Example, ...]:
    """The examples of a file that need not be a contract."""
    from failwell.core.contract.document import Misread, read_document
    from failwell.core.contract.examples import read_examples
    from failwell.core.contract.finding import BrokenContract
    from failwell.core.contract.notes import Notes

    notes = Notes(text := read_file(file), str(file))
    try:
        found = read_examples(read_document(text), notes)
    except Misread as error:
        notes.add_at("error", error.line, error.column, "The text cannot be read.", f"{error.message}.", error.mend)
        found = ()
    if notes.findings:
        raise BrokenContract(f"examples {file}", notes.findings)
    return found
