"""`contract`: check a contract, sign it as its owner, adopt it as another person."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from failwell.cli import floor, options, session
from failwell.cli.contract_file import File, keep_signature, load_file, read_file
from failwell.cli.contract_read import show_changes_since
from failwell.cli.contract_schema import schema
from failwell.cli.escalation_lint import path_faults, said, show_faults
from failwell.cli.lookup import standing
from failwell.cli.screen import Answer, Screen, door, plural
from failwell.core.errors import NotFound, Refused

if TYPE_CHECKING:
    from failwell.core.contract import Contract, Finding
    from failwell.core.orders import SignedOrder
    from failwell.node.workspace import Workspace

app = typer.Typer(help="What bounds an agent: lint, sign as its owner, adopt.")
app.command("schema", short_help="Print the JSON Schema of a contract, for editors.")(schema)


@app.command("lint")
@door("contract-lint")
def lint(file: File, as_json: options.AsJson = False) -> Answer:
    """Check a contract; needs no workspace, starts nothing.

    Every problem is told with its place, its reason and what to do.

    \b
    Example:
      failwell contract lint contracts/refund-bot.yaml
    """
    import msgspec

    from failwell.core import contract as contracts

    if floor.is_floor(file):
        return floor.lint(file)
    text = read_file(file)
    findings = contracts.lint(text, name=str(file), today=datetime.now(UTC).date().isoformat())
    errors = [finding for finding in findings if finding.level == "error"]
    warnings = [finding for finding in findings if finding.level != "error"]
    read = None if errors else contracts.load(text, name=str(file))
    digest = None if read is None else contracts.digest(read)

    def show(screen: Screen) -> None:
        count = f"{plural(len(errors), 'error')}, {plural(len(warnings), 'warning')}"
        if read is None:
            screen.lead(f"{file} must not be adopted: {count}.", "Mend the errors below; a warning may stay.", bad=True)
        else:
            screen.lead(
                f"{file} is a sound contract: {read.contract} v{read.version}, {count}.",
                f"Its owner signs it: failwell contract sign {file} --as {read.owner}",
            )
        for finding in (*errors, *warnings):
            screen.say()
            _show_finding(screen, finding)
        if read is not None:
            screen.say()
            for line in _about(read):
                screen.say(f"  {line}")

    fields = {
        "file": str(file), "sound": read is not None, "contract": None if read is None else read.contract,
        "version": None if read is None else read.version, "digest": digest,
        "findings": [msgspec.to_builtins(finding) for finding in findings],
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=read is None)


@app.command("sign")
@door("contract-sign")
def sign(
    file: File, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Stand for a version of a contract, as the agent's owner.

    It takes effect when another person adopts it. A floor is signed by an operator or an owner.

    \b
    Example:
      failwell contract sign contracts/refund-bot.yaml --as anna
    """
    if floor.is_floor(file):
        return floor.sign(file, session.open_workspace(workspace), person, yes=yes)
    contract = load_file(file)
    place = session.open_workspace(workspace)
    if not yes:
        show_changes_since(place, contract)
    faults = path_faults(place, contract)
    with session.take_hand(place, person, yes=yes, about=[*_about(contract), *said(faults)]) as hand:
        if hand.person != contract.owner:
            raise Refused(
                f"{contract.contract} is owned by {contract.owner}: {hand.person} cannot stand for it",
                hint=f"failwell contract sign {file} --as {contract.owner}",
            )
        signed = hand.sign_contract(contract)
        path = keep_signature(_signature_path(place, contract, hand.person), signed)

    def show(screen: Screen) -> None:
        screen.lead(
            f"{contract.contract} v{contract.version} is signed by its owner, {hand.person}. It is not in force yet.",
            "Another person, an approver, adopts it within 30 days:",
        )
        screen.command(f"failwell contract adopt {file} --as APPROVER")
        screen.say(f"The signature: {path}")
        show_faults(screen, faults)

    fields = {
        "contract": contract.contract, "version": contract.version, "person": hand.person, "signature": str(path),
        "faults": faults,
    }  # fmt: skip
    return Answer(fields=fields, show=show)


@app.command("adopt")
@door("contract-adopt")
def adopt(
    file: File, workspace: options.Workspace = None, person: options.As = None, yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Put a contract, or a floor, in force that another person signed.

    That takes an approver. Of a contract the other person is its owner; what a floor changes is shown.

    \b
    Example:
      failwell contract adopt contracts/refund-bot.yaml --as bert
    """
    if floor.is_floor(file):
        return floor.adopt(file, session.open_workspace(workspace), person, yes=yes)
    contract = load_file(file)
    place = session.open_workspace(workspace)
    signed = _signature(place, contract, file)
    if not yes:
        show_changes_since(place, contract)
    faults = path_faults(place, contract)
    with session.take_hand(place, person, yes=yes, about=[*_about(contract), *said(faults)]) as hand:
        entry = hand.adopt_contract(contract, signed)
    with session.reach_node(place) as wire:
        row = wire.call("ask", about="agents")[contract.agent]
    agent = contract.agent.rsplit("/", 1)[-1]

    def show(screen: Screen) -> None:
        screen.lead(
            f"{contract.contract} v{contract.version} is in force for {agent} (entry {entry}).",
            f"From now on every action of {agent} is judged by it: failwell agent show {agent}",
        )
        if row["authority"] == "OBSERVED":
            screen.say(f"It stops nothing yet: {standing(row)}.")
            screen.say(f"From now on: failwell agent govern {agent}")
        advisory = [tool.tool for tool in contract.tools if tool.custody == "none"]
        if advisory:
            screen.say(
                f"Advisory for {', '.join(advisory)}: whoever runs the agent holds the credential (custody none) and "
                "could reach the tool round the gate."
            )
        show_faults(screen, faults)

    fields = {
        "contract": contract.contract, "version": contract.version, "agent": contract.agent, "entry": entry,
        "faults": faults,
    }  # fmt: skip
    return Answer(fields=fields, show=show)


# ---- files ---------------------------------------------------------------------------------------------------


def _signature_path(place: Workspace, contract: Contract, person: str) -> Path:
    return place.contracts / f"{contract.contract}.v{contract.version}.{person}.sig"


def _signature(place: Workspace, contract: Contract, file: Path) -> SignedOrder:
    from failwell.core.orders import parse_signed

    path = _signature_path(place, contract, contract.owner)
    try:
        return parse_signed(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(
            f"{contract.contract} v{contract.version} is not signed by its owner, {contract.owner}",
            hint=f"failwell contract sign {file} --as {contract.owner}",
        ) from error


# ---- words ---------------------------------------------------------------------------------------------------


def _about(contract: Contract) -> list[str]:
    """What a contract allows and how it answers, in a few lines, for whoever signs."""
    from failwell.core.contract import format_duration
    from failwell.core.contract.explain import outline

    lines = [
        f"contract {contract.contract} v{contract.version} for {contract.agent}, owner {contract.owner}",
        f"purpose: {contract.purpose}",
    ]
    for tool in contract.tools:
        deadline = "no deadline" if tool.deadline_us is None else f"at most {format_duration(tool.deadline_us)}"
        stopped = "" if tool.executor is None else f"{tool.executor}, "
        lines.append(f"may call {tool.tool}: {tool.effect}, {stopped}custody {tool.custody}, {deadline}")
    lines += outline(contract)
    for rule in contract.response:
        often = f" {rule.at_least} times within {format_duration(rule.within_us)}" if rule.within_us else ""
        lines.append(f"on {rule.signal}{often}: {', '.join(rule.do)}")
    return lines


def _show_finding(screen: Screen, finding: Finding) -> None:
    """Problem, place, reason and what to do."""
    first, *rest = str(finding).split("\n")
    screen.say(f"{finding.level}: {first}", "bold red" if finding.level == "error" else "yellow")
    for line in rest:
        screen.say(line)
