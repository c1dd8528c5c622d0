"""The overview lists what there is, every command explains itself with an example, and starting costs little."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import typer

from failwell.cli import gateway
from failwell.cli.main import LATER, app

HEAVY = ("cryptography", "msgspec", "cedarpy", "apsw", "rich", "ruamel", "asyncio")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_every_command_of_the_stable_face_that_is_built_is_there() -> None:
    found = {" ".join(path) for path, _ in commands(typer.main.get_command(app))}
    assert found == {
        "demo", "init", "serve", "doctor", "run", "backtest", "config show", "config apply", "person add", "person key",
        "person list", "person verify", "person leave", "agent register", "agent list", "agent show", "agent suspend",
        "agent certify", "agent revoke", "agent rekey", "agent assign", "agent group",
        "agent release propose", "floor list",
        "agent release approve", "agent release break-glass", "agent release review",
        "contract lint", "contract schema", "contract explain",
        "contract diff", "contract test", "contract sign", "contract adopt",
        "incident acknowledge", "incident claim", "incident close", "incident customers", "incident dismiss",
        "incident done", "incident draft", "incident escalate", "incident find", "incident hand-over",
        "incident impact", "escalation show", "escalation lint", "digest list", "digest show", "digest receive",
        "team list", "team show", "team cover", "team uncover",
        "feed list", "feed show", "feed test",
        "clock end", "clock list", "clock met", "clock show", "clock start", "escalation channels",
        "escalation confirm", "escalation keys", "escalation prove", "escalation receive",
        "incident inform", "incident list", "incident lower", "incident merge",
        "incident note", "incident raise", "incident reopen", "incident report", "incident resolve",
        "incident serious", "incident show",
        "incident task", "incident told", "incident whole", "incident work", "hold export", "hold lift",
        "hold list", "hold place", "hold show",
        "ticket list", "ticket show", "ticket approve", "ticket deny",
        "guard show", "guard serve", "ledger verify", "ledger tail",
        "ledger export", "ledger rebuild", "ledger rotate", "ledger continue",
        "agent observe", "agent govern", "agent inventory", "ledger enforcement",
        "stop list", "stop show", "stop propose", "stop lift", "stop report", "stop run", "stop action", "permit keys",
        "action show", "action compensate", "gateway", "response show", "response lint", "response test",
    }  # fmt: skip


def test_the_parts_of_the_gateway_show_an_example_and_offer_json() -> None:
    one = typer.Typer()
    gateway.register(one)
    parts = dict(commands(typer.main.get_command(one)))
    assert {path[-1] for path in parts} == {"import", "pin", "show", "token"}
    for path, command in parts.items():
        assert f"failwell gateway {path[-1]}" in (command.help or ""), path
        assert any("--json" in parameter.opts for parameter in command.params), path


def test_every_command_shows_an_example_of_itself_and_offers_json() -> None:
    for path, command in commands(typer.main.get_command(app)):
        if path[0] in LATER:
            continue  # told by its own module
        assert f"failwell {' '.join(path)}" in (command.help or ""), path
        assert any("--json" in parameter.opts for parameter in command.params), path


def test_the_overview_loads_nothing_that_only_commands_need() -> None:
    probe = (
        "import sys\n"
        "from failwell.cli.main import _main\n"
        "assert _main(['--help']) == 0\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert loaded == [], loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "incident" in done.stdout
