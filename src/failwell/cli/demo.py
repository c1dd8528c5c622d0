"""`failwell demo`: one agent's failure, caught, contained, recorded and explained on this machine, in a minute.

Everything is real: processes, mail over SMTP, a node, signed orders, keys. Every figure is read from the ledger, and
those about effects are held against the shop's and the mail server's own logs. Exit code 0 when the whole story held,
1 with what did not, 3 when something failed on the way.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from failwell.cli import demo_record
from failwell.cli.demo_stage import BROKEN_OFF, Stage, has_ended, wait_for
from failwell.cli.screen import FINDING, FINE, exit_code, fail
from failwell.core import kinds
from failwell.core.errors import FailwellError, InputError, Unhealthy
from failwell.core.instants import parse_at
from failwell.core.records import Entry
from failwell.drills.demo import hindsight, outcome, story, tallies, telling
from failwell.drills.demo.outcome import Hindsight, Refused, Told
from failwell.execute.orphans import read_marker
from failwell.execute.processes import scan_processes
from failwell.response.account import Account
from failwell.response.headline import happened

AGENT_S = 60.0
MAIL_S = 10.0
COUNT_S = 15.0
FOLLOW_EVERY_S = 0.2

Say = telling.Say


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("demo")(demo)


def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Do not pause for a reader.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Directory to make for it. Default: a new temporary one.", metavar="DIR"),
    ] = None,
) -> None:
    """See an agent fail, and what Failwell makes of it: a minute, on this machine, with nothing staged."""
    raise typer.Exit(run(headless=headless, as_json=as_json, into=into))


def run(*, headless: bool, as_json: bool, into: Path | None) -> int:
    """Run the demonstration and tell it; returns the exit code. `into` is a directory to make (None: temporary)."""
    pause_s = 0.0 if headless or as_json or not sys.stdout.isatty() else telling.PAUSE_S
    say = telling.speaker(sys.stderr if as_json else sys.stdout, pause_s)
    try:
        with _ended_by_signals():
            told = play(_directory(into), say)
    except KeyboardInterrupt:
        fail("stopped", "Stopped. All that was started has been ended; its files are kept.", None, as_json=as_json)
        return 130
    except FailwellError as error:
        fail(error.code, error.message, error.hint, as_json=as_json)
        return FINDING if error.code == BROKEN_OFF else exit_code(error)
    failures = outcome.check(told)
    if as_json:
        sys.stdout.write(json.dumps(outcome.as_json(told)) + "\n")
    else:
        telling.tell(told, failures, say)
    return FINDING if failures else FINE


# -- the play ----------------------------------------------------------------------------------------------------


def play(directory: Path, say: Say) -> Told:
    """Let it happen in `directory`, stop everything, then read and check what the record says."""
    began = time.monotonic()
    say.line(f"Everything of this lies in {directory}")
    with Stage(directory) as stage:
        stage.prepare()
        say.step("ready", "a shop, a mail server, a node; two people and an agent with keys; a contract signed by both")
        agent = stage.start_agent()
        _follow(stage, has_ended(agent), say)
        if not stage.ask("incidents"):
            raise Unhealthy(f"the agent ended before anything was noticed: {stage.agent_said()}", code=BROKEN_OFF)
        fresh = stage.start_agent()
        for what, process in (("the stopped agent", agent), ("a fresh process of the agent", fresh)):
            wait_for(f"{what} did not end", has_ended(process), within_s=AGENT_S)
        say.step("refused", "the agent tried again from a fresh process")
        wait_for("the owner's page was not accepted", lambda: _account(stage).times["paged"], within_s=MAIL_S)
        mails = wait_for("the owner's mail did not arrive", stage.owner_mail, within_s=MAIL_S)
        wait_for("the logs of shop and mail server were not all read", lambda: _all_read(stage), within_s=COUNT_S)
        account = _account(stage)
    say.step("stopped", "node, agent and mail server ended; the ledger is closed")
    return _read(stage, account, mails[-1], began)


def _follow(stage: Stage, ended: Callable[[], bool], say: Say) -> None:
    """Tell what the ledger says while it happens, until what runs has been stopped (or the agent has `ended`)."""
    seen, repeating = 0, False
    deadline = time.monotonic() + AGENT_S
    while time.monotonic() < deadline:
        last = ended()
        page = stage.ask("entries", seen)
        seen += len(page)
        for entry in page:
            number, body = entry["seq"], entry["body"]
            clauses = [clause["id"] for clause in body.get("clauses", ())]
            if story.REPEAT_LIMIT in clauses and not repeating:
                repeating = True
                say.step("repeat", f"entry {number}: a customer is told a second time; recorded, nobody is asked")
            elif entry["kind"] == "incident.opened":
                say.step("caught", f"entry {number}: {happened(story.AGENT_NAME, body['title'])}")
            elif entry["kind"] == "interrupt.confirmed":
                say.step("stopped", f"entry {number}: what was running, child included")
                last = True
        if last:
            return
        time.sleep(FOLLOW_EVERY_S)
    raise Unhealthy(f"the agent was not stopped within {AGENT_S:.0f} s", code=BROKEN_OFF)


def _account(stage: Stage) -> Account:
    return msgspec.convert(stage.ask("incident", 1), Account)


def _all_read(stage: Stage) -> bool:
    """Whether every line of every log is sealed in the ledger. Nothing runs any more, so the logs stand still."""
    if stage.ask("running"):
        return False
    logged = tallies.count_lines(stage.shop, stage.mail)
    sealed = dict.fromkeys(logged, 0)
    seen = 0
    while page := stage.ask("entries", seen):
        seen += len(page)
        for entry in page:
            if entry["kind"] == "effect.witnessed":
                sealed[entry["body"]["witness"]] += 1
    return sealed == logged


# -- what the record says ----------------------------------------------------------------------------------------


def _read(stage: Stage, account: Account, mail: bytes, began: float) -> Told:
    workspace = stage.workspace
    record = demo_record.read_record(workspace)
    onset = account.times["onset"]
    onset_us = parse_at(onset.at) if onset is not None else 0
    notices = tallies.read_logs(stage.shop, stage.mail)
    escaped = tuple(notice for notice in notices if notice.at_us >= onset_us)
    report = demo_record.verify(workspace)
    harmed = account.customers[0].id if account.customers else story.CUSTOMERS[0]
    return Told(
        directory=str(stage.directory), workspace=str(workspace.path), account=account,
        customers=len(story.CUSTOMERS), before=len(notices) - len(escaped), repeats=_repeats(record.entries),
        refused=_refused(record.entries, account), notices=escaped, mail=_mail_path(stage),
        verified=report.ok, entries=report.entries,
        one_byte=demo_record.change_one_byte(workspace, account.onset[0]),
        forgery=demo_record.forge_away(
            workspace, record, account, mail, harmed, stated_ms=int(account.bound["stated_ms"])
        ),
        hindsight=_hindsight(record), left_running=_left_running(workspace.origin()),
        elapsed_ms=int((time.monotonic() - began) * 1000),
    )  # fmt: skip


def _mail_path(stage: Stage) -> str | None:
    kept = sorted(stage.mail.glob("kept-*.eml"))
    return str(kept[-1]) if kept else None


def _repeats(entries: tuple[Entry[Any], ...]) -> int:
    return sum(
        any(clause.id == story.REPEAT_LIMIT for clause in entry.body.clauses)
        for entry in entries
        if isinstance(entry.body, kinds.Decision) and entry.body.verdict == "ALLOW"
    )


def _refused(entries: tuple[Entry[Any], ...], account: Account) -> Refused:
    """Decisions after the suspension, in the run that it struck and in runs opened later."""
    suspended = account.times["suspended"]
    fence = len(entries) if suspended is None else suspended.entry
    after = [entry for entry in entries[fence:] if isinstance(entry.body, kinds.Decision)]
    denied = [entry.run or 0 for entry in after if entry.body.verdict == "DENY"]
    later = sum(run > fence for run in denied)
    return Refused(same_run=len(denied) - later, later_runs=later, allowed=len(after) - len(denied))


def _hindsight(record: demo_record.Record) -> Hindsight:
    contract = hindsight.contract_in_force(record.entries, story.AGENT)

    def judge(under: Any) -> tuple[hindsight.Rejudged, ...]:
        return hindsight.rejudge(record.entries, story.AGENT, record.arguments.__getitem__, under)

    as_it_was = judge(contract)
    changed = judge(hindsight.with_denial(contract, story.REPEAT_LIMIT))
    recorded = [was for was, now in zip(as_it_was, changed, strict=True) if was.was_clauses == (story.REPEAT_LIMIT,)]
    denied = {now.entry for now in changed if now.now == "DENY" and story.REPEAT_LIMIT in now.now_clauses}
    return Hindsight(
        limit=story.REPEAT_LIMIT,
        decisions=len(as_it_was),
        same_as_recorded=sum(each.same for each in as_it_was),
        first_denied=min(denied, default=None),
        repeats=len(recorded),
        repeats_denied=sum(each.entry in denied for each in recorded),
    )


def _left_running(origin: str) -> tuple[int, ...]:
    """Processes that still carry the marker of this ledger's tools."""
    return tuple(pid for pid in scan_processes() if (read_marker(pid) or "").startswith(f"{origin}/"))


# -- around it ---------------------------------------------------------------------------------------------------


def _directory(into: Path | None) -> Path:
    if into is None:
        return Path(tempfile.mkdtemp(prefix="failwell-demo-")).resolve()
    try:
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(into.iterdir()):
            raise InputError(f"{into} is not empty", hint="Choose another --into.")
    except OSError as error:
        raise InputError(f"{into} cannot be made: {error.strerror}", hint="Choose another --into.") from error
    return into.resolve()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end it like Ctrl-C: with everything that was started."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
