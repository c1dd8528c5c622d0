"""`ledger`: verify, look at, export and rebuild the record, without the node and without its help."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import export, options, session, verified
from failwell.cli.screen import Answer, Screen, clock, door, plural, safe
from failwell.cli.stopwatch import Stopwatch
from failwell.core.errors import InputError, NotFound

if TYPE_CHECKING:
    from failwell.node.audit import Shown

app = typer.Typer(help="The record: verify, look at its end, take it away, mend it.")

MIN_SHORT = 20


@app.command("verify")
@door("ledger-verify")
def verify(
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A checkpoint kept elsewhere: a note, or a mail with one; once for each."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The verifier key, kept elsewhere. Default: keys/log.pub")
    ] = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Keys of witnesses (a vkey a line) that may have cosigned; once for each."),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="This agent's entries alone: that none is missing.")
    ] = None,
    extract: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Not the record, but an extract of it: ledger export --agent")
    ] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Verify the whole record; the first bad entry is named.

    Any changed, removed, swapped or added row is found.

    A record that was re-written whole and signed with its guard's key is found out only with a checkpoint that lies
    elsewhere: every mail of an incident carries one.

    \b
    Examples:
      failwell ledger verify
      failwell ledger verify --checkpoint mail-from-incident-1.eml --key log.pub
      failwell ledger verify --agent refund-bot
      failwell ledger verify --extract refund-bot.json --key log.pub
    """
    log_key = None if key is None else _key(key)
    checkpoints, kept = checkpoint or [], len(checkpoint or [])
    if extract is not None:
        from failwell.node import extracts

        try:
            place = None if log_key is not None else _place(workspace)
        except NotFound:
            place = None  # an extract needs no workspace, only a key
        checked = extracts.verify_file(extract, place, checkpoints=checkpoints, log_key=log_key, agent=agent)
        return verified.extract_answer(checked, kept)
    if agent is not None:
        from failwell.node import extracts

        found = extracts.verify_agent(_place(workspace), agent, checkpoints=checkpoints, log_key=log_key)
        return verified.agent_answer(found, kept)
    return _whole(_place(workspace), checkpoints, log_key, witness or [])


def _whole(place: Path, checkpoints: list[Path], log_key: str | None, witnesses: list[Path]) -> Answer:
    """Of the whole record, with what it took."""
    from failwell.node import audit

    watch = Stopwatch()
    report = audit.verify_workspace(
        place, checkpoints=checkpoints, log_key=log_key, witnesses=witnesses, tell=watch.heard
    )

    def show(screen: Screen) -> None:
        verified.show_report(screen, report, len(checkpoints))

    fields = {name: value for name, value in report.as_dict().items() if name != "schema"}
    return Answer(fields={**fields, "timing": watch.fields(report.entries)}, show=show, finding=not report.ok)


@app.command("tail")
@door("ledger-tail")
def tail(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100_000, help="How many entries.")] = 20,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="This agent's entries alone.")] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Show the newest entries, oldest first.

    Nothing is verified. With --json each body stands as it is sealed.

    \b
    Examples:
      failwell ledger tail
      failwell ledger tail -n 200 --json
      failwell ledger tail --agent refund-bot
    """
    from failwell.node import audit

    shown = audit.tail(_place(workspace), count, agent)

    def show(screen: Screen) -> None:
        rows = [_row(each) for each in shown]
        columns = ("entry", "at (UTC)", "kind", "agent", "says")
        others = [max(len(row[place]) for row in (columns, *rows)) for place in range(4)]
        room = max(MIN_SHORT, screen.console.width - sum(others) - 2 * len(others))
        short = [(*row[:4], row[4] if len(row[4]) <= room else f"{row[4][: room - 1]}…") for row in rows]
        screen.table(columns, short, right=("entry",))

    return Answer(fields={"entries": [_fields(each) for each in shown]}, show=show)


def _row(shown: Shown) -> tuple[str, str, str, str, str]:
    entry = shown.entry
    if entry is None:
        return str(shown.seq), "-", "UNREADABLE", "-", safe(shown.error)
    agent = "-" if entry.agent is None else entry.agent.rsplit("/", 1)[-1]
    return str(shown.seq), clock(entry.at), entry.kind, safe(agent), safe(_summary(entry.body))


def _fields(shown: Shown) -> dict[str, Any]:
    import msgspec

    if shown.entry is None:
        return {"seq": shown.seq, "leaf": shown.leaf, "error": shown.error}
    kept = ("seq", "at", "kind", "v", "actor", "agent", "run", "body")
    entry = msgspec.to_builtins(shown.entry)
    return {"leaf": shown.leaf, **{name: entry[name] for name in kept}}


def _summary(body: Any) -> str:
    """What an entry says, in one line: its short plain fields."""
    import msgspec

    parts = []
    for name, value in msgspec.to_builtins(body).items():
        if name.endswith("_us") or isinstance(value, bool) or value == "":
            continue
        if isinstance(value, str | int) and len(str(value)) <= 60:
            parts.append(f"{name} {value}")
        elif isinstance(value, list) and value and all(isinstance(item, dict) and "id" in item for item in value):
            parts.append(f"{name} {', '.join(str(item['id']) for item in value)}")
    return " · ".join(parts)


app.command("export", short_help="Take the record, a proof or the verifier away.")(export.export)


@app.command("rebuild")
@door("ledger-rebuild")
def rebuild(
    write: Annotated[bool, typer.Option("--write", help="Put the rebuilt rows in place, where they differ.")] = False,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Rebuild what is derived from the entries, and compare.

    \b
    Examples:
      failwell ledger rebuild
      failwell ledger rebuild --write
    """
    import msgspec

    from failwell.node import audit

    made = audit.rebuild_workspace(_place(workspace), write=write)

    def show(screen: Screen) -> None:
        if made.identical:
            screen.lead(f"Identical: {plural(made.rows, 'row')} rebuilt from the entries.", "Nothing is asked.")
            return
        screen.lead(
            f"{plural(len(made.differing), 'row')} of {made.rows} differ from what the entries make of them"
            + (", and were replaced." if made.replaced else "."),
            "The node may start again." if made.replaced else "Replace them: failwell ledger rebuild --write",
            bad=not made.replaced,
        )
        for finding in made.differing[: verified.SHOWN_FINDINGS]:
            screen.say(f"  {finding.message}")

    fields = {
        "rows": made.rows, "identical": made.identical, "replaced": made.replaced,
        "differing": [msgspec.to_builtins(finding) for finding in made.differing],
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=not made.identical and not made.replaced)


def _place(given: str | None) -> Path:
    """The workspace, also one whose ledger file is gone: that is a finding, not a missing workspace."""
    try:
        return session.open_workspace(given).path
    except NotFound:
        named = given or os.environ.get("FAILWELL_WORKSPACE")
        if named and (Path(named) / "keys" / "log.pub").exists():
            return Path(named)
        raise


def _key(path: Path) -> str:
    """The vkey in a file; one in which there is none is wrong usage, and says nothing against the record."""
    from failwell.core import note

    hint = "It is the text of keys/log.pub."
    try:
        text = path.read_text("ascii").strip()
        note.VerifierKey.parse(text)
    except OSError as error:
        raise InputError(f"the verifier key {path} cannot be read: {error.strerror}", hint=hint) from error
    except (UnicodeDecodeError, InputError) as error:
        why = error.message if isinstance(error, InputError) else "it is not text of that kind"
        raise InputError(f"{path} does not hold a verifier key: {why}", hint=hint) from error
    return text
