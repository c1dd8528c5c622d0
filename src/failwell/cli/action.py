"""`run`: one command as a supervised tool of an agent, through the gate."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import FAILED, FINDING, Answer, door, safe, tell
from failwell.core.errors import InputError

if TYPE_CHECKING:
    from failwell.core.contract import Contract

#: Types whose JSON is not text: an argument of one of these is read as JSON, any other as it stands.
_NOT_TEXT = ("int", "bool", "list", "any", "object")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("run")(run)


@door("run")
def run(
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Who acts: its short name or full SPIFFE id.")],
    tool: Annotated[str, typer.Option(metavar="TOOL", help="The tool's name in the contract.")],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="After --: what runs, unless failwell.toml says so.")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="An argument; K:=JSON for a JSON value; once for each."),
    ] = None,
    principal: Annotated[str | None, typer.Option(metavar="WHO", help="On whose behalf.")] = None,
    request: Annotated[str | None, typer.Option(metavar="TEXT", help="What was asked for.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why the agent does it.")] = None,
    host: Annotated[str | None, typer.Option(metavar="NAME", help="The registered host that opens the run.")] = None,
    ticket: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The approved ticket that it rests on, good for one action.")
    ] = None,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer:  # fmt: skip
    """Run a command as a tool of an agent, through the gate.

    It is judged before it starts, recorded, and killed with all it started when told. The arguments arrive as one
    JSON object on its standard input, and FAILWELL_ACTION in its environment names the action. Its standard output is
    the result. Ends with 0 when it completed, 1 when it was denied, escalated, stopped or failed, 3 when Failwell
    failed.

    \b
    Example:
      failwell run --agent refund-bot --tool notices.send --arg customer_id=c-1 -- ./send-notice
    """
    from failwell.client.gate import Gate
    from failwell.client.wire import reach

    place = session.open_workspace(workspace)
    target = _target(command or [])
    gate = Gate(reach(place.socket, place.path), session.config_directory())
    with gate:
        full = gate.prove("agent", agent)
        arguments = _arguments(arg or [], _types(gate.wire, full, tool))
        with gate.run(full, principal=principal, request=request, host=host) as opened:
            raw = gate.wire.ask(
                "act", agent=full, run=opened.id, call=uuid.uuid4().hex, tool=tool, arguments=json.dumps(arguments),
                reason=reason, how="execute", target=target, ticket=ticket,
            ).result()  # fmt: skip
    return _answer(full, tool, opened.id, raw["verdict"], raw["result"])


# ---- what is asked -------------------------------------------------------------------------------------------


def _target(command: list[str]) -> dict[str, Any] | None:
    if not command:
        return None
    found = shutil.which(command[0])
    if found is None:
        raise InputError(f"there is no command {command[0]!r} that can be executed", hint="Look at its path and mode.")
    env = {"PATH": os.environ["PATH"]} if "PATH" in os.environ else {}
    return {"command": [str(Path(found).absolute()), *command[1:]], "cwd": os.getcwd(), "env": env}


def _types(wire: Any, agent: str, tool: str) -> dict[str, str]:
    """The types that the contract in force declares for the tool's arguments; none where it knows no such tool."""
    from failwell.cli.lookup import contract_in_force

    contract: Contract | None = contract_in_force(wire, agent)
    found = next((item for item in contract.tools if item.tool == tool), None) if contract is not None else None
    return {} if found is None else {argument.name: argument.type for argument in found.arguments}


def _arguments(given: list[str], types: dict[str, str]) -> dict[str, Any]:
    """`k=v` by the type that the contract declares (text where it declares none), `k:=json` as JSON."""
    made: dict[str, Any] = {}
    for item in given:
        name, equals, text = item.partition("=")
        exact = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name:
            raise InputError(f"--arg {item!r} is no argument", hint="Write --arg name=value")
        if name in made:
            raise InputError(f"the argument {name!r} is given twice", hint="Give each argument once.")
        typed = types.get(name, "").partition("(")[0] in _NOT_TEXT
        made[name] = _value(name, text, exact=exact) if exact or typed else text
    return made


def _value(name: str, text: str, *, exact: bool) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        if exact:
            raise InputError(f"the argument {name!r} is not JSON: {error}") from error
        return text  # not of the declared type: for the gate to judge


# ---- what came of it -----------------------------------------------------------------------------------------


def _answer(
    agent: str, tool: str, run_id: int | None, verdict: dict[str, Any], result: dict[str, Any] | None
) -> Answer:
    fields: dict[str, Any] = {
        "agent": agent, "tool": tool, "run": run_id, "verdict": verdict["verdict"], "clauses": verdict["clauses"],
        "because": verdict["because"], "hint": verdict["hint"], "ticket": verdict["ticket"], "entry": verdict["entry"],
        "governed": verdict["governed"],
    }  # fmt: skip
    if result is None:
        return _not_run(fields, verdict)
    output = base64.b64decode(result["output"])
    fields |= {
        "state": result["state"], "outcome_entry": result["entry"], "exit_code": result["exit_code"],
        "why": result["why"], "truncated": result["truncated"], "result": _read(output),
    }  # fmt: skip
    if result["state"] == "completed":
        return Answer(fields=fields, show=lambda screen: _show_completed(fields, output))
    hint = None
    if result["state"] != "failed":
        hint = "Who ordered it: failwell stop report. The agent may be suspended: failwell agent list"
    fields["error"] = {
        "code": "tool-failed" if result["state"] == "failed" else "interrupted",
        "message": f"{tool} {result['state']}: {result['why'] or 'by order'} [entry {result['entry']}]", "hint": hint,
    }  # fmt: skip
    return Answer(
        fields=fields, show=lambda screen: _show_error(fields["error"], output), status=_status(result["state"])
    )


def _status(state: str) -> int:
    return FAILED if state == "unknown" else FINDING


def _not_run(fields: dict[str, Any], verdict: dict[str, Any]) -> Answer:
    escalated = verdict["verdict"] == "ESCALATE"
    by = f" by {', '.join(verdict['clauses'])}" if verdict["clauses"] else ""
    what = f"escalated{by}: it does not run until a person decides" if escalated else f"denied{by}"
    because, hint = verdict["because"], verdict["hint"]
    if escalated and verdict["ticket"] is not None:
        hint = f"A person answers: failwell ticket show {verdict['ticket']}. Then the same again, with --ticket."
    if hint and hint.startswith(because):
        because, hint = hint, None  # the hint says the same and more
    fields |= {
        "state": verdict["state"],
        "error": {
            "code": "escalated" if escalated else "denied",
            "message": f"{what}: {because} [entry {verdict['entry']}]", "hint": hint,
        },
    }  # fmt: skip
    return Answer(fields=fields, show=lambda screen: _show_error(fields["error"], b""), status=FINDING)


def _show_completed(fields: dict[str, Any], output: bytes) -> None:
    """The result on standard output, what the record says of it on standard error."""
    _show_output(output)
    cut = ", the result was cut at the limit" if fields["truncated"] else ""
    loose = "" if fields["governed"] else "NOT GOVERNED, it ran all the same: "
    tell(f"{loose}{fields['verdict']} [entry {fields['entry']}], completed [entry {fields['outcome_entry']}]{cut}")


def _show_error(error: dict[str, Any], output: bytes) -> None:
    tell(error["message"])
    if error["hint"]:
        tell(f"  {error['hint']}")
    _show_output(output)


def _show_output(output: bytes) -> None:
    """A tool's output is not trusted with the terminal; programs take it whole from --json."""
    text = safe(output.decode("utf-8", "replace"), lines=True)
    if text:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()


def _read(output: bytes) -> Any:
    """The JSON value that the output is, else its text."""
    text = output.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
