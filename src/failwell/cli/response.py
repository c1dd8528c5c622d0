"""`response`: what is done about which signal, what is weak about it, and what other rules would have done.

They start nothing and write nothing: the record is read beside the node, or from a copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from failwell.cli import options, session
from failwell.cli.contract_file import File, load_file, read_file
from failwell.cli.screen import Answer, Screen, clock, door, plural

if TYPE_CHECKING:
    from failwell.core.contract import Contract, Finding
    from failwell.core.simulate import Answered, Simulated

app = typer.Typer(help="What is done about a signal: show it, find what is weak, try other rules.")


# ---- show ----------------------------------------------------------------------------------------------------


@app.command("show")
@door("response-show")
def show(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent, by its name or full id.")],
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Show what is done about which signal of an agent: its contract's rules, then the default ladder.

    \b
    Example:
      failwell response show refund-bot
    """
    import msgspec

    from failwell.node.simulating import contract_in_force

    full, contract = contract_in_force(session.open_workspace(workspace), agent)
    rules = [
        {"rule": number, "signal": rule.signal, "at_least": rule.at_least, "within_ms": rule.within_us // 1_000,
         "do": list(rule.do)}
        for number, rule in enumerate(contract.response, 1)
    ]  # fmt: skip
    ladder = _ladder()

    def tell(screen: Screen) -> None:
        screen.lead(
            f"{full} answers signals by {plural(len(rules), 'rule')} of {contract.contract} v{contract.version}.",
            "The first rule that matches decides; what no rule is about, the default ladder answers.",
        )
        if contract.stopping is not None:
            harm = f"A stop does {contract.stopping.harm} harm: {contract.stopping.because}"
            screen.say(f"{harm} The ladder suspends for no less than that.")
        rows = [
            (str(rule.signal), _often(rule.at_least, rule.within_us), ", ".join(rule.do)) for rule in contract.response
        ]
        if rows:
            screen.say()
            screen.table(("rule on", "when", "does"), rows)
        screen.say()
        screen.table(("default ladder", "severity", "when", "does"), [tuple(map(str, row.values())) for row in ladder])

    stopping = None if contract.stopping is None else msgspec.to_builtins(contract.stopping)
    fields = {"agent": full, "contract": contract.contract, "version": contract.version, "rules": rules,
              "stopping": stopping, "ladder": ladder}  # fmt: skip
    return Answer(fields=fields, show=tell)


def _ladder() -> list[dict[str, str]]:
    from failwell.core.incidents.ladder import LADDER

    return [
        {"signal": signal, "severity": severity, "when": _often(at_least, within_us), "does": ", ".join(response)}
        for (signal, severity), rungs in LADDER.items()
        for at_least, within_us, response in rungs
    ]


def _often(at_least: int, within_us: int) -> str:
    from failwell.core.contract import format_duration

    if at_least == 1:
        return "each time"
    return f"from number {at_least} on" + (f" within {format_duration(within_us)}" if within_us else "")


# ---- lint ----------------------------------------------------------------------------------------------------


@app.command("lint")
@door("response-lint")
def lint(
    file: File,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where anything is weak.")] = False,
    as_json: options.AsJson = False,
) -> Answer:
    """Say what is weak about how a contract answers signals; needs no workspace.

    Rules that never decide, that do less than the default ladder would, that suspend where a stop harms more or on
    somebody's word; irreversible tools that nothing would stop.

    \b
    Example:
      failwell response lint contracts/refund-bot.yaml
    """
    from failwell.core.incidents.linting import lint_response

    findings = lint_response(read_file(file), name=str(file))

    def tell(screen: Screen) -> None:
        if not findings:
            screen.lead(f"{file} answers signals no less than the default ladder.", "Nothing is weak about it.")
            return
        screen.lead(
            f"{file}: {plural(len(findings), 'weakness', 'weaknesses')} in how it answers signals.",
            "Look at each before the contract is signed; it may be meant.",
            bad=True,
        )
        for finding in findings:
            screen.say()
            screen.say(str(finding))

    fields = {"file": str(file), "findings": [_as_dict(finding) for finding in findings]}
    return Answer(fields=fields, show=tell, finding=strict and bool(findings))


def _as_dict(finding: Finding) -> dict[str, object]:
    return {name: getattr(finding, name) for name in ("line", "column", "problem", "reason", "mend")}


# ---- test ----------------------------------------------------------------------------------------------------


@app.command("test")
@door("response-test")
def try_rules(
    file: File, workspace: options.Workspace = None,
    differing: Annotated[bool, typer.Option("--differing", help="Only signals that are answered otherwise.")] = False,
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Answer all signals of the record by the rules of a contract's file, beside what was done.

    The record of this workspace is read, nothing is started and nothing written. What an agent would have done had it
    not been stopped is in no record: from there on nothing is told.

    \b
    Examples:
      failwell response test contracts/refund-bot.yaml
      failwell response test contracts/refund-bot.yaml --differing --json
    """
    import msgspec

    from failwell.node.simulating import simulate_workspace

    contract = load_file(file)
    found = simulate_workspace(session.open_workspace(workspace), contract)
    answered = [each for each in found.answered if each.differs or not differing]

    def tell(screen: Screen) -> None:
        screen.lead(_happened(contract, found), _asked(found))
        if answered:
            screen.say()
            screen.table(("entry", "at (UTC)", "signal", "did", "would"), [_row(each) for each in answered])
        if found.more:
            screen.say(f"{found.more} more are not listed.")

    fields = {
        "file": str(file), "agent": found.agent, "entries": found.entries, "signals": found.signals,
        "stopped": found.stopped, "would_stop": found.would_stop, "started_beyond": found.started,
        "customers_beyond": found.customers, "refused_besides": found.refused, "more": found.more,
        "answered": [{**msgspec.to_builtins(each), "differs": each.differs} for each in answered],
    }  # fmt: skip
    return Answer(fields=fields, show=tell)


def _happened(contract: Contract, found: Simulated) -> str:
    rules = f"{contract.contract} v{contract.version}"
    if found.stopped == found.would_stop:
        return f"{rules} would have stopped {found.agent} {_when(found.stopped)}, as happened."
    return f"{rules} would have stopped {found.agent} {_when(found.would_stop)}; it was stopped {_when(found.stopped)}."


def _when(entry: int | None) -> str:
    return "at no time" if entry is None else f"at entry {entry}"


def _asked(found: Simulated) -> str:
    told = [f"{plural(found.signals, 'signal')} of {plural(found.entries, 'entry', 'entries')} answered."]
    if found.started:
        reached = f", which reached {plural(found.customers, 'customer')}" if found.customers else ""
        told.append(f"{plural(found.started, 'action')} would not have started{reached}.")
    if found.refused:
        told.append(f"{plural(found.refused, 'action')} that the stop refused would have been judged by the contract.")
    return " ".join(told)


def _row(each: Answered) -> tuple[str, ...]:
    did, would = (", ".join(words) for words in (each.did, each.would))
    mark = "" if each.differs else "the same"
    return (
        str(each.entry),
        clock(each.at),
        f"{each.signal} ({each.severity})",
        did,
        mark or f"{would} [{each.would_by}]",
    )
