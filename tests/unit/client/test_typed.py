"""What a user's type checker sees: the decorated function as it was, results of the right types, and every mistake."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import failwell

PROGRAM = '''
from collections.abc import AsyncIterator, Iterator

import failwell

gate = failwell.connect()


@gate.tool("payments.refund")
def refund(order_id: str, amount: str = "1.00") -> dict[str, str]:
    """Pay back."""
    return {"refunded": order_id, "amount": amount}


@gate.tool("payments.later")
async def later(order_id: str) -> int:
    return len(order_id)


@gate.tool("orders.each")
def each(customer: str) -> Iterator[int]:
    yield 1


@gate.tool("orders.follow")
async def follow(customer: str) -> AsyncIterator[str]:
    yield customer


class Desk:
    @gate.tool("desk.ask")
    def ask(self, question: str) -> str:
        return question


def work() -> dict[str, str]:
    with gate.run(agent="refund-bot", principal="customer:8841") as run:
        number: int | None = run.id
        allowed: bool = run.decide("payments.refund", order_id="A-1").allowed
        total: int = sum(each("c-1"))
        with run.stream("orders.each", customer="c-1") as stream:
            for chunk in stream:
                print(chunk, stream.given)
        state: str = "" if stream.outcome is None else stream.outcome.state
        answer: str = Desk().ask("why")
        try:
            return refund("A-1", amount="2.00")
        except failwell.Escalated as waits:
            ticket: str | None = waits.ticket
            print(number, allowed, total, state, answer, ticket)
        except failwell.Interrupted as stopped:
            print(stopped.outcome.state, stopped.hint)
        except failwell.Unsettled as lost:
            print(lost.call_id, lost.run)
        with run.acting("desk.ask", question="how") as acting:
            acting.result = {"asked": not acting.interrupted}
    return {}


async def work_async() -> int:
    async with gate.run(agent="refund-bot") as run:
        async for chunk in follow("c-1"):
            print(chunk.upper())
        async with run.acting("desk.ask", question="how"), run.stream("orders.follow") as stream:
            print(stream.outcome)
        verdict: failwell.Verdict = await run.decide("payments.refund", order_id="A-1")
        print(verdict.because)
        return await later("A-1")
'''

#: A line that does not type-check, and what a checker says of it.
WRONG = {
    "refund(7)": "arg-type",
    'refund("A-1", colour="red")': "call-arg",
    'refund("A-1").upper()': "attr-defined",
    'len(later("A-1"))': "arg-type",
    "run.call(tool=1)": "arg-type",
    'run.call("payments.refund", call_id=7)': "arg-type",
    'run.decide("payments.refund").allowd': "attr-defined",
    'run.stream("orders.each").outcome.state': "union-attr",
    "failwell.Gate.run(gate)": "call-arg",
    'sum(word for word in follow("c-1"))': "attr-defined",
}


def checked(directory: Path, text: str) -> tuple[int, str]:
    """What mypy --strict says of a program that has failwell installed as anybody has it: by its py.typed."""
    program = directory / "program.py"
    program.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(directory / "cache"),
         "--no-error-summary", "--follow-imports", "silent", str(program)],
        capture_output=True, text=True, cwd=directory, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_typed_program_passes_and_each_wrong_line_is_found(tmp_path: Path) -> None:
    assert (Path(failwell.__file__).parent / "py.typed").exists()
    lines = "\n".join(f"    {line}" for line in WRONG)
    text = f"{PROGRAM}\n\ndef wrong(run: failwell.Run) -> None:\n{lines}\n"
    first = text.splitlines().index("def wrong(run: failwell.Run) -> None:") + 2
    status, said = checked(tmp_path, text)
    found = {int(line): code for line, code in re.findall(r"program\.py:(\d+): error: .*\[([a-z-]+)\]", said)}
    assert status == 1, said
    assert found == {first + number: code for number, code in enumerate(WRONG.values())}, said
