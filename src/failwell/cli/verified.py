"""What a verification found, for people: of the whole record, of one agent in it, and of an extract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from failwell.cli.screen import Answer, Screen, plural

if TYPE_CHECKING:
    from failwell.node.audit import Report
    from failwell.node.extracts import AgentReport
    from failwell.verify.extract_report import ExtractReport
    from failwell.verify.finding import Break, Finding, Step

SHOWN_FINDINGS = 10


def show_report(screen: Screen, report: Report, kept: int) -> None:
    """Of the whole record; `kept`: checkpoint files it was held against."""
    from failwell.verify.finding import KEPT, NO_GRADE

    if report.ok:
        anchors = _anchors(report.checks[KEPT - 1], kept)
        if report.grade is not None and report.grade.grade == NO_GRADE:
            anchors = f"Not shown: that it is this log's record: {report.grade.why}."
        tail = f"The last {plural(report.unsealed, 'entry', 'entries')} not sealed yet. " if report.unsealed else ""
        if report.unread is not None:
            tail += f"Not held against what its guard remembers: {report.unread}. "
        screen.lead(
            f"The record verifies: {plural(report.entries, 'entry', 'entries')}, {_none(report.breaks)}.",
            tail + anchors,
        )
        _show_breaks(screen, report.breaks)
    elif _apart(report.counts):
        _lead_apart(screen, "RECORD")
        _show_findings(screen, report.findings, report.counts)
    else:
        first = report.findings[0] if report.findings else None
        where = "" if report.first_bad is None else f" First bad entry: {report.first_bad}."
        if first is not None and report.first_bad is not None and not first.exact:
            where = f" The first bad entry lies between {first.first} and {first.last}."
        screen.lead(
            f"THE RECORD DOES NOT VERIFY: {plural(sum(report.counts.values()), 'finding')}.{where}",
            "Keep this workspace as it is, and compare it with the checkpoints in the mails of its incidents.",
            bad=True,
        )
        _show_findings(screen, report.findings, report.counts)
    _show_steps(screen, report.checks)
    if report.grade is not None:
        screen.say(f"\n{report.grade.line()}")
    _show_log(screen, report.origin, report.size, report.root)


def extract_answer(report: ExtractReport, kept: int) -> Answer:
    """Of an extract; `kept`: checkpoint files it was held against."""

    def show(screen: Screen) -> None:
        if report.ok:
            anchors = "Not shown: that it is the newest. For that: --checkpoint FILE, from a mail."
            if kept:
                anchors = _anchors(report.checks[-1], kept)
            screen.lead(f"The extract verifies: {_whole(report)}.", f"{reach(report)} {anchors}")
            _show_breaks(screen, report.breaks)
        elif _apart(report.counts):
            _lead_apart(screen, "EXTRACT")
            _show_findings(screen, report.findings, report.counts)
        else:
            screen.lead(
                f"THE EXTRACT DOES NOT VERIFY: {plural(sum(report.counts.values()), 'finding')}.{_lacks(report)}",
                "Believe nothing in it. Ask for a new one, and for the checkpoint that it is under from somebody else.",
                bad=True,
            )
            _show_findings(screen, report.findings, report.counts)
        _show_steps(screen, report.checks)
        _show_log(screen, report.origin, report.size, report.root)
        if report.agent is not None:
            screen.say(f"Agent {report.agent}, of a {report.mode or 'not named'} record")

    return Answer(fields=extract_fields(report), show=show, finding=not report.ok)


def agent_answer(checked: AgentReport, kept: int) -> Answer:
    """Of one agent's entries in a record."""
    report, around = checked.report, checked.around

    def show(screen: Screen) -> None:
        if checked.ok:
            anchors = _anchors(report.checks[-1], kept)
            screen.lead(f"The agent's record verifies: {_whole(report)}.", f"{reach(report)} {anchors}")
            _show_breaks(screen, report.breaks)
        else:
            count = sum(report.counts.values()) + len(around)
            screen.lead(
                f"THE AGENT'S RECORD DOES NOT VERIFY: {plural(count, 'finding')}.{_lacks(report)}",
                "Keep this workspace as it is; the whole of it: failwell ledger verify",
                bad=True,
            )
            _show_findings(screen, (*report.findings, *around), {**report.counts, "": len(around)})
        _show_steps(screen, report.checks)
        if checked.unsealed:
            screen.say(
                f"\nNot sealed yet: {plural(checked.unsealed, 'further entry', 'further entries')} of the agent."
            )
        _show_log(screen, report.origin, report.size, report.root)

    findings = [asdict(finding) for finding in (*report.findings, *around)]
    fields = {**extract_fields(report), "ok": checked.ok, "unsealed": checked.unsealed, "findings": findings}
    return Answer(fields=fields, show=show, finding=not checked.ok)


def _whole(report: ExtractReport) -> str:
    name = "the agent" if report.agent is None else report.agent.rsplit("/", 1)[-1]
    if not report.entries:
        return f"{name} has no entry"
    return f"{plural(report.entries, 'entry', 'entries')} of {name}, {_none(report.breaks)}"


def _none(breaks: Sequence[Break]) -> str:
    return "none missing or changed of what it holds" if breaks else "none missing or changed"


def _show_breaks(screen: Screen, breaks: Sequence[Break]) -> None:
    """What was given up, where nobody can overlook it: the record verifies all the same."""
    for each in breaks:
        screen.say(each.line(), "bold")


def reach(report: ExtractReport) -> str:
    """How far it is complete, and as of when."""
    from failwell.verify import extract_report

    return extract_report.reach(report)


def _anchors(step: Step, kept: int) -> str:
    """What the checkpoints kept elsewhere show of what verifies; `step` is the one that held them against it."""
    from failwell.verify.finding import PROVED

    if not kept:
        return "Not shown: that it was not re-written whole. For that: --checkpoint FILE, from a mail of an incident."
    if step.state != PROVED:
        return f"NOT HELD AGAINST WHAT WAS KEPT ELSEWHERE: {step.detail}."
    return f"It agrees with {plural(kept, 'checkpoint file')} kept elsewhere."


def _apart(counts: Mapping[str, int]) -> bool:
    """Whether nothing is wrong but that a checkpoint which was given is not one of this log."""
    from failwell.verify.finding import UNSIGNED

    return set(counts) == {UNSIGNED}


def _lead_apart(screen: Screen, what: str) -> None:
    screen.lead(
        f"THE {what} AND A CHECKPOINT THAT WAS GIVEN DO NOT BELONG TOGETHER; nothing else is wrong with it.",
        "Either the checkpoint was changed on its way (get it anew, as it came), or it is of another record.",
        bad=True,
    )


def _lacks(report: ExtractReport) -> str:
    if not report.missing:
        return ""
    ranges = [str(first) if first == last else f"{first} to {last}" for first, last in report.missing[:SHOWN_FINDINGS]]
    return f" Missing of the agent's own count: {', '.join(ranges)}."


def extract_fields(report: ExtractReport) -> dict[str, Any]:
    """The same for programs."""
    return {name: value for name, value in report.as_dict().items() if name != "schema"}


def _show_findings(screen: Screen, findings: Sequence[Finding], counts: Mapping[str, int]) -> None:
    screen.say()
    for finding in findings[:SHOWN_FINDINGS]:
        screen.say(f"  {finding.message}")
    more = sum(counts.values()) - min(len(findings), SHOWN_FINDINGS)
    if more > 0:
        screen.say(f"  and {more} more; all of them: --json")


def _show_steps(screen: Screen, checks: Sequence[Step]) -> None:
    screen.say()
    rows = [(step.number, step.state, f"{step.says} ({step.detail})" if step.detail else step.says) for step in checks]
    screen.table(("step", "", "shows that"), rows, right=("step",))


def _show_log(screen: Screen, origin: str | None, size: int, root: str | None) -> None:
    screen.say(f"\nLog {origin or 'unknown'}, tree of {size}{'' if root is None else f', root {root}'}")
