"""`failwell stop` at the terminal: given, looked at, lifted, and given while no node answers."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.cli import main as cli
from failwell.node.workspace import Workspace, lock_holder
from tests.integration.shell import CONTROL, Done, Shell, send, settle_in, tool_processes, wait_until


class Inside(Shell):
    """The command line in this process: what it prints and asks of the node is the same, and it starts at once."""

    def __call__(self, *args: str, code: int = 0, at: Path | None = None, **env: str | None) -> Done:
        out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(self.root)
        try:
            with (
                pytest.MonkeyPatch.context() as patch,
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                for name, value in self.env.items():
                    patch.setenv(name, value)
                ended = cli._main(list(args))
        finally:
            os.chdir(before)
        assert not CONTROL.search(out.getvalue())
        assert ended == code, f"failwell {' '.join(args)}: {ended}\n{out.getvalue()}\n{err.getvalue()}"
        return Done(ended, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Inside(tmp_path_factory.mktemp("stops"))
    try:
        settle_in(made, "refund-bot", "other-bot")
        yield made
    finally:
        made.end()


def test_everything_is_stopped_by_one_order_and_told_in_two_lines(shell: Shell) -> None:
    long = shell.start(*send("refund-bot", "c-1", seconds=60))
    wait_until(lambda: len(tool_processes(shell)) >= 2)
    told = shell.json("stop", "--all", "--reason", "It is on fire", "--as", "bert")
    assert (told["scope"], told["confirmed"], told["agents"]) == (
        "all",
        True,
        ["spiffe://shop.example/agent/other-bot", "spiffe://shop.example/agent/refund-bot"],
    )
    assert [each["state"] for each in told["containment"]["stopped"]] == ["interrupted_confirmed"]
    assert tool_processes(shell) == []
    assert shell.end_of(long).code == 1
    denied = shell.json(*send("refund-bot", "c-2"), code=1)
    assert denied["clauses"] == ["stopped"]
    again = shell("stop", "--all", "--reason", "It burns still", "--as", "bert")
    assert again.first.startswith("Everything is stopped (entry ")
    assert "nothing was running" in again.first


def test_what_is_stopped_is_shown_wherever_people_look(shell: Shell) -> None:
    assert shell("stop", "list").first == "1 scope stopped: all."
    assert shell("stop", "show", "all").first.startswith("Everything is stopped by bert (entry ")
    listed = shell("agent", "list")
    assert listed.first.endswith("STOPPED: all.")
    assert shell.json("agent", "list")["stopped"] == ["all"]
    checks = {check["part"]: check for check in shell.json("doctor", code=1)["checks"]}
    assert checks["stops"]["found"].startswith("STOPPED: all")
    assert shell.json("stop", "list")["closed"] == ["all"]


def test_a_scope_that_nothing_is_in_is_stopped_and_the_answer_says_so(shell: Shell) -> None:
    told = shell("stop", "--group", "night", "--reason", "Not tonight", "--as", "cleo")
    assert told.first.startswith("Group night is stopped")
    assert "Nothing is in it now. Whatever comes into it is stopped too." in told.out
    tool = shell("stop", "--tool", "nobody.knows", "--reason", "Not that one", "--as", "cleo")
    assert "none now. It is stopped all the same" in tool.out


def test_two_others_lift_it_and_nobody_else(shell: Shell) -> None:
    cited = ("--conditions", "The fire is out", "--evidence", "3")
    shell.json("stop", "lift", "all", "--as", "cleo", "--yes", code=1)
    shell.json("stop", "propose", "all", *cited, "--as", "bert", "--yes", code=1)
    shell("stop", "propose", "all", *cited, "--as", "anna", "--yes")
    assert "The fire is out" in shell("stop", "show", "all").out
    shell.json("stop", "lift", "all", "--as", "anna", "--yes", code=1)
    lifted = shell("stop", "lift", "all", "--as", "cleo", "--yes")
    assert lifted.first.startswith("The stop of all is lifted (entry ")
    assert shell.json(*send("refund-bot", "c-3"))["state"] == "completed"
    shell.json("stop", "lift", "all", "--as", "cleo", "--yes", code=2)


@pytest.mark.parametrize(
    "args",
    [
        ("stop",), ("stop", "--all"), ("stop", "--all", "--tool", "x", "--reason", "y"),
        ("stop", "--group", "A B", "--reason", "y", "--as", "bert"), ("stop", "--all", "--reason", "y", "list"),
        ("stop", "show", "tool:never.stopped"),
    ],
)  # fmt: skip
def test_what_is_no_stop_is_said_and_stops_nothing(shell: Shell, args: tuple[str, ...]) -> None:
    before = shell.json("stop", "list")["closed"]
    shell(*args, code=2)
    assert shell.json("stop", "list")["closed"] == before


def running(shell: Shell) -> dict[str, int]:
    """The newest decision that a tool runs for, and its run."""
    listed = shell.json("ledger", "tail", "-n", "20")["entries"]
    newest = [entry for entry in listed if entry["kind"] == "decision"][-1]
    return {"action": newest["seq"], "run": newest["run"]}


def test_one_action_and_one_run_are_stopped_alone_and_what_that_leaves_goes_to_people(shell: Shell) -> None:
    first = shell.start(*send("other-bot", "c-6", seconds=60))
    wait_until(lambda: len(tool_processes(shell)) >= 2)
    one = running(shell)
    told = shell("stop", "action", str(one["action"]), "--reason", "Not that letter", "--as", "bert")
    assert told.first.startswith(f"Action {one['action']} is stopped (entry ")
    assert told.first.endswith("1 running tool stopped.")
    assert shell.end_of(first).code == 1
    second = shell.start(*send("other-bot", "c-7", seconds=60))
    wait_until(lambda: len(tool_processes(shell)) >= 2)
    other = running(shell)
    stopped = shell.json("stop", "run", str(other["run"]), "--reason", "The wrong customer", "--as", "cleo")
    assert [each["action"] for each in stopped["containment"]["stopped"]] == [other["action"]]
    assert shell.end_of(second).code == 1
    assert (
        "nothing of it runs" in shell("stop", "run", str(other["run"]), "--reason", "Again", "--as", "cleo", code=2).err
    )
    third = shell.start(*send("other-bot", "c-8", seconds=60))
    wait_until(lambda: len(tool_processes(shell)) >= 2)
    left = running(shell)
    incident = shell.json("agent", "suspend", "other-bot", "--reason", "It repeats itself", "--as", "bert")["incident"]
    shell.end_of(third)
    work = shell("incident", "work", str(incident))
    assert work.first == f"1 run of 1 left unfinished by incident {incident}; asked: anna."
    assert "customer:1" in work.out
    assert "Tell them." in work.out
    assert "notices.send at" in work.out
    asked = shell.json("incident", "show", str(incident))["asked"]
    assert any(f"failwell incident work {incident}" in sentence for sentence in asked)
    shell("incident", "work", str(incident), "--drop", str(left["run"]), "--as", "anna", "--yes", code=2)  # no words
    shell("incident", "work", str(incident), "--take", str(left["run"]), "--as", "cleo", "--yes", code=1)  # not asked
    taken = shell("incident", "work", str(incident), "--take", str(left["run"]), "--as", "anna", "--yes")
    assert taken.first.startswith(f"Run {left['run']} is yours (entry ")
    done = ("--finish", str(left["run"]), "--words", "Called them", "--as", "anna", "--yes")
    shell("incident", "work", str(incident), *done)
    ended = shell("incident", "work", str(incident))
    assert ended.first == f"1 run left by incident {incident}, and each has a person or an end."
    shell("ledger", "verify")


@pytest.mark.requirement("R28.3")
def test_a_node_that_stands_still_delays_no_stop_and_the_answer_says_ordered(shell: Shell) -> None:
    long = shell.start(*send("refund-bot", "c-4", seconds=60))
    wait_until(lambda: len(tool_processes(shell)) >= 2)
    node = lock_holder(Workspace(shell.workspace))
    assert node is not None
    os.kill(node, signal.SIGSTOP)
    try:
        told = shell("stop", "--tool", "notices.send", "--reason", "It is on fire", "--as", "bert", code=1)
        assert told.first.startswith("ORDERED, NOT CONFIRMED: tool notices.send")
        assert "1 of 1 reported dead" in told.out
        assert tool_processes(shell) == []
    finally:
        os.kill(node, signal.SIGCONT)
    assert shell.end_of(long).code == 1
    wait_until(lambda: "tool:notices.send" in shell.json("stop", "list")["closed"])
    assert shell.json(*send("refund-bot", "c-5"), code=1)["clauses"] == ["stopped"]
    shell("ledger", "verify")
