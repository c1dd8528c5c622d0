"""Small recordings and contracts, the command line they are given to, and a ledger read back row by row."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from failwell.cli import main
from failwell.core.records import Entry, decode_entry

BANK = """\
contract: bank-bot
version: {version}
agent: spiffe://shop.example/agent/bank-bot
owner: bank-owner
purpose: Pay bills.
valid: {{from: 2026-03-01, until: 2027-03-01}}
applies_to: {{suite: banking}}
tools:
  - {{tool: balance, effect: read, custody: broker, deadline: 5s, arguments: {{}}}}
  - tool: pay
    effect: irreversible
    executor: unstoppable
    custody: broker
    deadline: 5s
    arguments: {{to: "string(1..40)", amount: "money(2, 0..1000)"}}
    affects: {{resource: to, amount: amount}}
    public: [amount]
clauses:
  - {{id: ceiling, deny: pay, when: context.args.amount > 50000, severity: major, because: "Too much."}}
limits:
  - {{id: hourly, count: pay, at_most: 3, per: 1h, then: escalate}}
  - {{id: same, once_per: pay, keys: [to, amount], per: 1d, then: record}}
response:
  - {{signal: "denied(ceiling)", do: [interrupt, suspend, hold, notify]}}
restricted: {{irreversible: escalate, limits: half}}
escalation:
  - {{notify: owner, by: [email]}}
"""

CHAT = """\
contract: chat-bot
version: 1
agent: spiffe://shop.example/agent/chat-bot
owner: chat-owner
purpose: Post messages.
valid: {from: 2026-02-01, until: 2027-02-01}
applies_to: {suite: slack}
tools:
  - {tool: post, effect: reversible, custody: broker, arguments: {text: "string(0..100000)"}}
restricted: {irreversible: escalate, limits: half}
escalation:
  - {notify: owner, by: [email]}
"""

Step = tuple[str, Any, str | None, str | None]  # tool, arguments, the assistant's words, the result


def run(suite: str | None, steps: Sequence[Step], request: str | None = "Pay my bills") -> dict[str, Any]:
    """One recorded run in the messages form; a step whose result is None has none."""
    messages: list[dict[str, Any]] = [] if request is None else [{"role": "user", "content": request}]
    for tool, arguments, words, result in steps:
        call = {"id": "", "function": {"name": tool, "arguments": json.dumps(arguments)}}
        messages.append({"role": "assistant", "content": words, "tool_calls": [call]})
        if result is not None:
            error = result if result.startswith("Error") else None
            messages.append({"role": "tool", "content": "" if error else result, "error": error})
    return {"messages": messages, "metadata": {"suite_name": suite} if suite else {}}


def pay(to: str, amount: float, result: str | None = "paid") -> Step:
    return ("pay", {"to": to, "amount": amount}, f"I pay {to}", result)


def write_runs(path: Path, runs: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in runs))
    return path


def bank_runs() -> list[dict[str, Any]]:
    """Five runs that meet every verdict and every kind of end."""
    return [
        run("banking", [("balance", {}, None, "100.00"), pay("Ann", 20), pay("Bob", 30.5, "Error: unknown")]),
        run("banking", [pay("Cid", 700), pay("Cid", 70), pay("Cid", 70), pay("Dan", 1), pay("Eve", 2)]),
        run("slack", [("post", {"text": "hello"}, "Greeting", "ok"), ("post", {"text": "bye"}, "", None)]),
        run("banking", [], request=None),
        run("banking", [pay("Fay", 3), ("steal", {"all": True}, "Now", "x"), ("pay", {"to": "G"}, None, "x")]),
    ]  # fmt: skip


def case(folder: Path, runs: Sequence[dict[str, Any]] | None = None) -> list[str]:
    """Write contracts and a recording into `folder`; returns the options that name them."""
    folder.mkdir(exist_ok=True)
    (folder / "bank.yaml").write_text(BANK.format(version=1))
    (folder / "chat.yaml").write_text(CHAT)
    write_runs(folder / "runs.jsonl", bank_runs() if runs is None else runs)
    return ["--contract", str(folder / "bank.yaml"), "--contract", str(folder / "chat.yaml"),
            "--traces", str(folder / "runs.jsonl")]  # fmt: skip


class Said(NamedTuple):
    """What a command ended with and said."""

    exit_code: int
    stdout: str
    stderr: str


def backtest(*options: str) -> Said:
    """Give the command to the real command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main._main(["backtest", *options])
    return Said(code, out.getvalue(), err.getvalue())


def shown(*options: str) -> dict[str, Any]:
    """What a backtest that must succeed prints with --json."""
    result = backtest(*options, "--json")
    assert result.exit_code == 0, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def entries(workspace: Path) -> list[Entry[Any]]:
    """Every entry, read by the standard library's SQLite from the file alone."""
    connection = sqlite3.connect(f"file:{workspace / 'ledger.db'}?mode=ro&immutable=1", uri=True)
    rows = connection.execute("SELECT data FROM entry ORDER BY seq").fetchall()
    connection.close()
    return [decode_entry(data) for (data,) in rows]
