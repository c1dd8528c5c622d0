"""`doctor`: what protects this workspace, what is known not to, what is not known, and what to do about each.

It asks the node for what only a node can prove and looks at files itself. What was not checked is `unknown`, never
fine; `known` names a limit that this installation has and that nobody needs to mend tonight.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from failwell.cli import (
    agent_owner,
    custody,
    doctor_channels,
    doctor_feeds,
    doctor_holds,
    doctor_http,
    doctor_standby,
    doctor_stopping,
    doctor_telling,
    doctor_undoing,
    observing,
    options,
    probing,
    session,
    stop,
)
from failwell.cli.lookup import ENDED, governed, sources_of, taken
from failwell.cli.screen import Answer, Screen, door, plural, span
from failwell.core.errors import FailwellError, InputError

if TYPE_CHECKING:
    from failwell.client.wire import Wire
    from failwell.core.contract import Contract
    from failwell.node.workspace import Workspace

OK, KNOWN, WANTED, UNKNOWN = "ok", "known", "todo", "unknown"
FREE_ENOUGH = 512 * 1024 * 1024
#: How far back entries are searched for the newest of a kind.
SEARCHED = 10_000
PAGE = 1000
_STYLE = {OK: "green", KNOWN: "cyan", WANTED: "bold red", UNKNOWN: "yellow"}


class Check(NamedTuple):
    """One thing that was looked at: `state`, what was `found`, and what to `do` (None where nothing is)."""

    part: str
    state: str
    found: str
    do: str | None = None


class Seen(NamedTuple):
    """What the node told, all at about the same time."""

    status: dict[str, Any]
    force: dict[str, str]
    checkpoint: str
    agents: dict[str, dict[str, Any]]
    persons: dict[str, dict[str, Any]]
    contracts: dict[str, Contract]
    incidents: dict[str, dict[str, Any]]
    pages: dict[str, dict[str, Any]]
    accepted_at: str | None
    failed_page: str | None
    custody: custody.Told
    faults: list[dict[str, Any]]
    feeds: list[dict[str, Any]]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("doctor")(doctor)


@door("doctor")
def doctor(
    as_agent: Annotated[
        str | None, typer.Option(metavar="AGENT", help="Try to reach its tools round the gate, from where it runs.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="With it: as this user, which takes root.")] = None,
    process: Annotated[
        int | None, typer.Option(metavar="PID", help="With it: as the user, and with the variables, of a process.")
    ] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Say what protects this workspace, what does not, what to do.

    Ends with 1 when something needs doing. What was not checked is shown as unknown, never as fine.

    With --as-agent it tries, with the agent's key and from where the agent runs, whether its tools can be used without
    the gate, and records what it found. It ends with 1 when one can. That none can is the word of the agent's side.

    \b
    Examples:
      failwell doctor
      failwell doctor --as-agent refund-bot --process 4711
    """
    place = session.open_workspace(workspace)
    if as_agent is not None:
        return probing.probe(place, as_agent, user, process)
    if user is not None or process is not None:
        raise InputError("--user and --process say where an agent runs", hint="failwell doctor --as-agent AGENT")
    seen, trouble = _ask_node(place)
    checks = [*_of_node(seen, trouble), Check(*doctor_standby.line(place)), *_of_files(place, seen)]
    if seen is not None:
        checks += [*_of_contracts(seen), Check("stops", *stop.told(seen.status)), *_of_incidents(seen)]
        checks += [Check(*line) for line in doctor_holds.lines(place, seen)]
        names = {full: row["name"] for full, row in seen.agents.items()}
        checks += [Check(*line) for line in custody.secret_lines(seen.custody)]
        checks += [Check(*line) for line in custody.bypass_lines(seen.contracts, names, seen.custody)]
    else:
        checks.append(Check("bypass", UNKNOWN, "whether tools can be reached round the gate is not known"))
    todo = [check for check in checks if check.state == WANTED]

    def show(screen: Screen) -> None:
        count = {state: sum(1 for check in checks if check.state == state) for state in (OK, KNOWN, UNKNOWN)}
        summary = f"{count[OK]} fine, {plural(count[KNOWN], 'known limit')}, {count[UNKNOWN]} unknown."
        if todo:
            screen.lead(f"{plural(len(todo), 'thing needs', 'things need')} doing; {summary}",
                        f"First: {todo[0].part}: {todo[0].do or todo[0].found}", bad=True)  # fmt: skip
        else:
            screen.lead(f"Nothing needs doing; {summary}", f"Workspace {place.path}")
        screen.say()
        _show_checks(screen, checks)

    fields = {
        "workspace": str(place.path), "sound": not todo,
        "checks": [check._asdict() for check in checks],
    }  # fmt: skip
    return Answer(fields=fields, show=show, finding=bool(todo))


def _show_checks(screen: Screen, checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    from failwell.cli.screen import safe

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for check in checks:
        told = Text(safe(check.found))
        if check.do is not None:
            told.append(f"\n-> {safe(check.do)}", style="dim" if check.state != WANTED else "")
        table.add_row(Text(check.part), Text(check.state, style=_STYLE[check.state]), told)
    screen.put(table)


# ---- the node ------------------------------------------------------------------------------------------------


def _ask_node(place: Workspace) -> tuple[Seen | None, str]:
    from failwell.cli.lookup import contract_in_force

    try:
        with session.reach_node(place) as wire:
            status = wire.call("ask", about="status", timeout_s=10)
            agents = wire.call("ask", about="agents", timeout_s=10)
            contracts = {full: contract_in_force(wire, full) for full in agents}
            accepted, failed = _search(wire, status["entries"])
            return Seen(
                status=status, force=wire.call("ask", about="settings", timeout_s=10),
                checkpoint=wire.call("ask", about="checkpoint", timeout_s=10), agents=agents,
                persons=wire.call("ask", about="persons", timeout_s=10),
                contracts={full: found for full, found in contracts.items() if found is not None},
                incidents=wire.call("ask", about="incidents", timeout_s=10),
                pages=wire.call("ask", about="pages", timeout_s=10),
                accepted_at=accepted, failed_page=failed, custody=custody.ask(wire),
                faults=wire.call("ask", about="escalation-lint", timeout_s=10)["findings"],
                feeds=wire.call("ask", about="feeds", timeout_s=10),
            ), ""  # fmt: skip
    except FailwellError as error:
        return None, error.message.split("\n")[0]


def _search(wire: Wire, size: int) -> tuple[str | None, str | None]:
    """(when the newest page was accepted, why the newest page failed if later)."""
    accepted = failed = None
    end = size
    while end > max(0, size - SEARCHED) and not accepted:
        first = max(0, end - PAGE)
        for entry in reversed(wire.call("ask", about="entries", key=first, timeout_s=10)[: end - first]):
            if entry["kind"] == "page.attempted" and accepted is None:
                if entry["body"]["accepted"]:
                    accepted = entry["at"]
                else:
                    failed = failed or str(entry["body"]["detail"])
        end = first
    return accepted, failed


def _of_node(seen: Seen | None, trouble: str) -> Iterator[Check]:
    if seen is None:
        yield Check(
            "node", WANTED, f"does not answer: {trouble}", "failwell serve shows why; suspending works without it"
        )
        for part in ("kill", "seal", "channels", "escalation", "settings", "contracts", "incidents"):
            yield Check(part, UNKNOWN, "the node does not answer")
    else:
        yield _health(seen.status)
        yield from (Check(*line) for line in doctor_stopping.lines(seen.status))
        yield from (Check(*line) for line in doctor_undoing.lines(seen.status))
        yield from (Check(*line) for line in doctor_http.lines(seen.status))
        yield _seal(seen)
        yield from (Check(*line) for line in doctor_channels.lines(seen))
        yield from (Check(*line) for line in doctor_telling.lines(seen.faults))
        yield from (Check(*line) for line in doctor_feeds.lines(seen.feeds))
    yield Check(
        "anchors", KNOWN, "grade C: nobody but this operator is declared to hold a checkpoint of this record",
        "keep the mails of incidents with somebody else: failwell ledger verify --checkpoint FILE",
    )  # fmt: skip
    yield Check("timestamps", UNKNOWN, "no outside party says when anything was written: ledger time is this machine's")


def _health(status: dict[str, Any]) -> Check:
    where = f"process {status['pid']}, {plural(status['entries'], 'entry', 'entries')}, log {status['origin']}"
    if status["health"] != "ok":
        if status["read_only"]:  # looked at once, by a start: only another start looks again
            do = f"failwell serve --stop, then: {status['hint'] or 'mend that'}"
        else:
            do = f"{status['hint'] or 'mend that'} The gate opens by itself once that is well: failwell doctor"
        return Check("node", WANTED, f"permits nothing: {status['health']}", do)
    return Check("node", OK, where)


def _seal(seen: Seen) -> Check:
    lines = seen.checkpoint.split("\n")
    size = int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else 0
    if size == 0:
        if seen.status["read_only"]:
            return Check("seal", UNKNOWN, "nothing is signed while the guard of this record is not reached")
        return Check("seal", WANTED, "there is no signed checkpoint", "failwell guard show")
    behind = max(0, seen.status["entries"] - size)  # the checkpoint was asked for later, of a node that may go on
    if seen.status["read_only"] and size > seen.status["entries"]:
        return Check("seal", WANTED, f"its guard has signed {size:,} entries, and {seen.status['entries']:,} are here",
                     "see node, above")  # fmt: skip
    found = f"the newest checkpoint covers {size:,} entries, {behind} behind"
    if (waited_ms := seen.status["seal_ms"]) is not None:
        found += f"; the last was signed {span(round(waited_ms * 1000))} after what it covers (100 ms stated)"
    if seen.status["guard"].startswith("unix:"):
        return Check("seal", OK, f"{found}; signed by a guard that another user runs ({seen.status['guard']})")
    return Check(
        "seal", KNOWN, f"{found}; signed by a guard of its own, run by the same user",
        "whoever is that user can have another record signed: checkpoints kept elsewhere show it",
    )  # fmt: skip


# ---- files ---------------------------------------------------------------------------------------------------


def _of_files(place: Workspace, seen: Seen | None) -> Iterator[Check]:
    found = "not known while the node does not answer"
    if seen is not None:
        found = f"{seen.status['separation']}{custody.readable(seen.custody)}"
    yield Check("separation", KNOWN if seen is not None else UNKNOWN,
                f"{found}; this guards against failure, not against a malicious process of that user")  # fmt: skip
    yield _persons()
    yield _keys(place)
    yield _disk(place)
    if seen is not None:
        yield _settings(place, seen)
    yield _orders(place, seen)


def _persons() -> Check:
    from failwell.identity.persons import keys_not_separated

    paths = sorted((session.config_directory() / "persons").glob("*.pem"))
    separation = keys_not_separated(paths)
    shared = sorted({path.stem for group in separation.shared for path in group.paths})
    if shared:
        return Check(
            "persons", WANTED, f"not separated: one user of this machine can read the keys of {', '.join(shared)}",
            "two persons take two accounts: each runs failwell person key NAME under their own",
        )  # fmt: skip
    if separation.unknown:
        return Check("persons", UNKNOWN, f"{plural(len(separation.unknown), 'key file')} could not be looked at")
    return Check("persons", OK, f"{plural(len(paths), 'person')} with a key in this configuration directory")


def _keys(place: Workspace) -> Check:
    from failwell.identity import keys

    config = session.config_directory()
    paths = [*place.keys.glob("*.key"), *config.glob("persons/*.pem"), *config.glob("agents/*/*.key"),
             *config.glob("agents/*/*.pem"), *config.glob("hosts/*/*.key")]  # fmt: skip
    for path in paths:
        try:
            keys.check_private(path)
        except FailwellError as error:
            return Check("keys", WANTED, error.message, error.hint)
    return Check("keys", OK, f"{plural(len(paths), 'key file')}, each for one user only (0600 in 0700)")


def _disk(place: Workspace) -> Check:
    free = shutil.disk_usage(place.path).free
    reserve = place.path / "reserve"
    shown = f"{free / 1e9:.1f} GB free"
    if not reserve.exists():
        return Check("disk", WANTED, f"{shown}; the reserve that lets a suspension be recorded on a full disk is spent",
                     "free some space: the node takes its reserve back")  # fmt: skip
    if free < FREE_ENOUGH:
        return Check("disk", WANTED, f"{shown}: a full disk denies everything", "free some space")
    return Check("disk", OK, f"{shown}; {reserve.stat().st_size / 1e6:.0f} MB held in reserve for suspensions")


def _settings(place: Workspace, seen: Seen) -> Check:
    from failwell.node import settings, watch

    try:
        digest = watch.digest(settings.settings_text(settings.read_settings(place.path)))
    except FailwellError as error:
        return Check("settings", WANTED, error.message, "mend it; what is in force: failwell config show")
    if digest != seen.force["digest"]:
        return Check("settings", WANTED, "failwell.toml was edited and is not in force",
                     "look: failwell config show; put in force: failwell config apply")  # fmt: skip
    return Check("settings", OK, "failwell.toml says what is in force")


def _orders(place: Workspace, seen: Seen | None) -> Check:
    from failwell.node.left_orders import REFUSED, SUFFIX

    left, refused = len(list(place.orders.glob(f"*{SUFFIX}"))), len(list(place.orders.glob(f"*{REFUSED}")))
    if left and seen is not None and seen.status["read_only"]:
        return Check("orders", WANTED, f"{plural(left, 'order')} left in orders/: carried out once a node may write",
                     "what hinders it stands under node, above")  # fmt: skip
    if left:
        return Check("orders", WANTED, f"{plural(left, 'order')} left in orders/ and not read yet",
                     "the node reads them when it goes on: failwell serve --stop, then failwell doctor")  # fmt: skip
    if refused:
        was = plural(refused, "order left in orders/ was", "orders left in orders/ were")
        return Check("orders", KNOWN, f"{was} refused, and kept as *{REFUSED}",
                     "a suspension among them did not take place: failwell agent list")  # fmt: skip
    return Check("orders", OK, "none waits in orders/")


# ---- contracts and incidents ---------------------------------------------------------------------------------


def _of_contracts(seen: Seen) -> Iterator[Check]:
    from failwell.node import settings

    force = settings.settings_from_text(seen.force["text"])
    declared = force.witness
    for full, row in sorted(seen.agents.items(), key=lambda item: str(item[1]["name"])):
        contract = seen.contracts.get(full)
        part = f"agent {row['name']}"
        yield from (Check(part, *found) for found in agent_owner.checks(row, seen.persons))
        if not governed(row):
            yield Check(part, *observing.ungoverned(full, row, force))
            continue
        if contract is None:
            yield Check(part, KNOWN, "no contract is adopted: everything is denied", "failwell contract sign, adopt")
            continue
        missing = [f"{tool.tool} ({tool.witness})" for tool in contract.tools
                   if tool.witness is not None and tool.witness not in declared]  # fmt: skip
        if unasked := [f"{tool} ({name})" for tool, name in sources_of(contract) if name not in force.sources]:
            yield Check(part, WANTED, f"its contract asks a source that no setting declares: {', '.join(unasked)}",
                        'declare [sources."NAME"] in failwell.toml, then failwell config apply')  # fmt: skip
        if missing:
            yield Check(part, WANTED, f"its contract names a witness that no setting declares: {', '.join(missing)}",
                        "declare [witness.NAME] in failwell.toml, then failwell config apply")  # fmt: skip
        yield from (Check(*line) for line in doctor_undoing.undeclared(part, contract, force.tools))
        yield from (Check(*line) for line in custody.tool_lines(full, row["name"], contract, seen.custody))


def _of_incidents(seen: Seen) -> Iterator[Check]:
    untaken = sorted(int(n) for n, row in seen.incidents.items() if not taken(row) and row["state"] not in ENDED)
    if untaken:
        yield Check("incidents", WANTED, f"nobody has taken {', '.join(str(number) for number in untaken[:10])}",
                    f"failwell incident acknowledge {untaken[0]}")  # fmt: skip
    else:
        yield Check("incidents", OK, f"{plural(len(seen.incidents), 'incident')}, none waits to be taken")
