"""`failwell backtest`: recorded runs through the real gate into a real ledger marked `backtest`.

It starts no node and needs no workspace: it makes its own, under the same lock, with the ledger in this
process (D1). A new workspace appears under its name only when it is declared whole, so that an attempt
killed at any point either left nothing or something that the same command goes on from.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from failwell.cli import options
from failwell.cli.screen import Answer, Screen, door, plural, tell
from failwell.core.contract import parse_duration
from failwell.core.errors import InputError
from failwell.node import assembly
from failwell.node.workspace import Lock, Workspace
from failwell.replay import backtest as recorded
from failwell.replay.declaration import Declaration, declare
from failwell.replay.pace import Pace, PacedClock
from failwell.replay.readback import sum_up
from failwell.replay.summary import Summary

LINE_EVERY_S = 3.0
MAX_DEFAULT_FOLDERS = 10_000


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("backtest")(backtest)


@door("backtest")
def backtest(
    contract: Annotated[
        list[Path], typer.Option(help="A contract to judge by; once for each.", metavar="FILE")
    ],
    traces: Annotated[
        list[Path], typer.Option(help="Recorded runs, plain or gzip; once for each.", metavar="FILE")
    ],
    into: Annotated[
        Path | None,
        typer.Option(help="Workspace to make, or to go on with. Default: a new folder here.", metavar="DIR"),
    ] = None,
    call_every: Annotated[
        str, typer.Option(help="Ledger time from call to call.", metavar="TIME")
    ] = "5s",
    run_every: Annotated[
        str, typer.Option(help="Ledger time from a run's last call to the next run.", metavar="TIME")
    ] = "1h",
    as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Judge recorded runs by contracts, through the real gate into a ledger of their own.

    Nothing is executed and no response applied. An interrupted backtest goes on where it stopped when the
    same command is given with the same --into.
    """
    pace = Pace(parse_duration(call_every), parse_duration(run_every))
    declaration = declare(contract, traces, pace, assembly.EVALUATOR)
    target = (into or _new_folder(Path.cwd())).resolve()
    tell(f"Judging {plural(declaration.calls, 'call')} of {plural(declaration.runs, 'run')} into {target}")
    summary = _run_or_stop(declaration, target)
    fields = {name: value for name, value in summary.to_json(str(target)).items() if name != "schema"}
    return Answer(fields=fields, show=lambda screen: _show(screen, summary, target))


def _run_or_stop(declaration: Declaration, target: Path) -> Summary:
    try:
        return run_backtest(declaration, target)
    except KeyboardInterrupt:
        tell(f"The same command with --into {target} goes on from here.")
        raise


def run_backtest(declaration: Declaration, target: Path) -> Summary:
    """Make the workspace `target` or go on with it, judge what is left, and sum up from its ledger."""
    clock = PacedClock(declaration.start_us)
    if not (target / "ledger.db").exists():
        _make(declaration, target)
    workspace = Workspace(target)
    lock = Lock(workspace)
    try:
        writer = assembly.backtest_ledger(workspace, clock, _unobserved)
        try:
            with _progress(declaration) as progress:
                recorded.proceed(writer, clock, declaration, progress)
            return sum_up(writer.book.storage, declaration)
        finally:
            writer.close()
    finally:
        lock.release()


def _make(declaration: Declaration, target: Path) -> None:
    """Build the new workspace beside its place and move it there whole: no crash leaves half of one."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is not empty and not a workspace", hint="Choose another --into.")
    building = Workspace(target.with_name(f".{target.name}.backtest-being-made"))
    try:
        building.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = Lock(building)
        try:
            _build(declaration, building)
            building.path.rename(target)
        except BaseException:
            shutil.rmtree(building.path, ignore_errors=True)
            raise
        finally:
            lock.release()
    except OSError as error:
        raise InputError(f"{target} cannot be made: {error.strerror}", hint="Choose another --into.") from error


def _build(declaration: Declaration, building: Workspace) -> None:
    for left in building.path.iterdir():  # by an attempt that was killed
        if left != building.lock_path:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    writer = assembly.backtest_ledger(building, PacedClock(declaration.start_us), _unobserved)
    try:
        recorded.begin(writer, declaration)
    finally:
        writer.close()


def _unobserved(_: list[Any]) -> None:
    return None


def _new_folder(here: Path) -> Path:
    for number in range(1, MAX_DEFAULT_FOLDERS):
        folder = here / f"backtest-{number}"
        if not folder.exists():
            return folder
    raise InputError("there are too many backtest folders here", hint="--into DIR")


# -- what a person sees -----------------------------------------------------------------------------------


@contextmanager
def _progress(declaration: Declaration) -> Iterator[recorded.Progress]:
    """A bar on a terminal, else a line every few seconds; always on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(declaration)
        return
    columns = (
        TextColumn("judging"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("calls"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=declaration.calls)
        yield lambda runs, calls: bar.update(task, completed=calls)


class _Lines:
    """Progress for a log: at most a line every few seconds."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._due_s = time.monotonic() + LINE_EVERY_S

    def __call__(self, runs: int, calls: int) -> None:
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + LINE_EVERY_S
            of = self._declaration
            tell(f"{runs:,} of {plural(of.runs, 'run')}, {calls:,} of {plural(of.calls, 'call')}")


def _show(screen: Screen, summary: Summary, target: Path) -> None:
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in summary.verdicts.items())
    runs, actions = plural(len(summary.runs), "run"), plural(summary.actions, "action")
    screen.lead(f"{runs}, {actions}: {verdicts}", f"The record: {target}")
    for table in summary.tables():
        screen.say()
        screen.say(table.title)
        screen.table(table.columns, table.rows, right=table.counts)
