"""The command line: `failwell`. Puts the commands together; what each does stands in its own module.

Starts in well under a second because commands import what they need when they need it.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from failwell.cli import (
    action,
    agent,
    clock,
    continuity,
    contract,
    contract_read,
    digest,
    doctor,
    escalation,
    escalation_keys,
    escalation_lint,
    escalation_prove,
    escalation_receive,
    feed,
    floor,
    guard,
    hold,
    incident,
    incident_authority,
    incident_cases,
    incident_customers,
    incident_deciding,
    incident_escalate,
    incident_impact,
    incident_work,
    ledger,
    observing,
    permit,
    person,
    response,
    stop,
    stop_one,
    team,
    ticket,
    undoing,
    workspace,
)
from failwell.cli.screen import FAILED, FINE, USAGE, exit_code, fail, safe
from failwell.core.errors import FailwellError

#: Commands whose modules take long to import, with the line that the overview shows: loaded when they are called.
LATER = {
    "backtest": ("failwell.cli.backtest", "Judge recorded runs by contracts, before one binds anybody."),
    "demo": ("failwell.cli.demo", "See an agent fail on this machine, and fail well."),
    "gateway": ("failwell.cli.gateway", "Stand between an agent's client and its tool servers (MCP)."),
}


class _Commands(TyperGroup):
    """The overview: in the order in which a newcomer needs them."""

    ORDER = ("demo", "init", "person", "agent", "contract", "floor", "run", "gateway", "action", "permit", "stop",
             "ticket", "incident", "escalation", "digest", "team", "clock", "feed", "hold", "response", "backtest",
             "ledger", "guard", "serve", "config", "doctor")  # fmt: skip

    def list_commands(self, ctx: Any) -> list[str]:
        named = super().list_commands(ctx)
        return sorted(named, key=lambda name: self.ORDER.index(name) if name in self.ORDER else len(self.ORDER))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in LATER:
            one = typer.Typer(rich_markup_mode=None, add_completion=False)
            importlib.import_module(LATER[args[0]][0]).register(one)
            return args[0], typer.main.get_command(one), args[1:]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        from failwell.core.release import VERSION

        print(f"failwell {VERSION}")
        raise typer.Exit(FINE)


@app.callback()
def overview(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Failwell: when an AI agent fails, it fails well. Caught, contained, recorded, answered by a person.

    See one fail on this machine, in seconds:  failwell demo

    Every command takes --json. Exit codes: 0 fine, 1 a finding (denied, refused, does not verify), 2 usage, 3 the
    system failed.
    """


def _stub(name: str, short: str) -> None:
    def loaded_when_called() -> None:
        raise AssertionError(f"{name} is loaded when it is called")

    loaded_when_called.__doc__ = short
    app.command(name)(loaded_when_called)


for _name, (_module, _short) in LATER.items():
    _stub(_name, _short)
workspace.register(app)
action.register(app)
doctor.register(app)
continuity.register(ledger.app)
incident_impact.register(incident.app)
incident_cases.register(incident.app)
incident_deciding.register(incident.app)
incident_customers.register(incident.app)
observing.register(agent.app, ledger.app)
contract_read.register(contract.app)
incident_work.register(incident.app)
incident_escalate.register(incident.app)
escalation_keys.register(escalation.app)
escalation_lint.register(escalation.app)
escalation_prove.register(escalation.app)
escalation_receive.register(escalation.app)
incident_authority.register(incident.app)
stop_one.register(stop.app)
for _name, _part in (("person", person), ("agent", agent), ("contract", contract), ("floor", floor), ("stop", stop),
                     ("permit", permit), ("ticket", ticket), ("action", undoing), ("incident", incident),
                     ("escalation", escalation), ("digest", digest), ("team", team), ("clock", clock), ("feed", feed),
                     ("hold", hold), ("response", response), ("ledger", ledger), ("guard", guard)):  # fmt: skip
    app.add_typer(_part.app, name=_name)


def app_main() -> None:
    """Run the command line and exit: never with a traceback for what a person did."""
    sys.exit(_main(sys.argv[1:]))


def _main(arguments: list[str]) -> int:
    as_json = "--json" in _own(arguments)
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="failwell", standalone_mode=False)
        return code if isinstance(code, int) else FINE
    except FailwellError as error:
        fail(error.code, error.message, error.hint, as_json=as_json)
        return exit_code(error)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(error.format_message() + "\n")
            return USAGE
        context = getattr(error, "ctx", None)
        hint = None if context is None else f"{context.command_path} --help"
        fail("usage", error.format_message(), hint, as_json=as_json)
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        fail("stopped", "Stopped by you.", None, as_json=as_json)
        return 130
    except BrokenPipeError:
        sys.stdout = None  # whoever read has gone: nothing is left to flush
        return FINE
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        fail("system", f"{place}{error.strerror or error}", None, as_json=as_json)
        return FAILED
    except Exception as error:  # noqa: BLE001  the outermost door: a fault of ours still gets a message and a code
        sys.stderr.write(safe(traceback.format_exc(), lines=True))
        fail("fault", f"a fault of failwell itself: {type(error).__name__}: {error}",
             "Please report it with what stands above.", as_json=as_json)  # fmt: skip
        return FAILED


def _own(arguments: list[str]) -> list[str]:
    """The arguments before `--`: what follows is another program's."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments
