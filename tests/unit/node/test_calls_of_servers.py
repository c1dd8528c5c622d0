"""Calls of a tool server as launches: what is said of each end, by what is proven of the server and never more.

The executor below and the server's word are in the test's hands, so that every order of events can be had.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from failwell.core.errors import Refused
from failwell.mcp.definitions import read_definition
from failwell.node.reached import UpstreamSettings
from failwell.node.redacting import Redaction
from failwell.node.upstreams import sessions
from failwell.node.upstreams.executor import SessionsExecutor, as_request
from failwell.node.upstreams.offering import digests_of, listed, told_of
from failwell.node.upstreams.server import FIRST, Server, Who
from failwell.node.upstreams.speaking import Answer, Offer
from failwell.ports.executor import Ended, Launch, Process, SelfTest

PIN = "ab" * 32
END = Ended(
    action=FIRST, state="interrupted_confirmed", exit_code=None, signal=9, output=b"", truncated=False, errors=b"",
    started_us=1, ended_us=2, swept=3, proven_by="no child left to wait for", why="ordered", sweep_us=1,
)  # fmt: skip


class Processes:
    """An executor whose processes end when the test says so."""

    def __init__(self) -> None:
        self.ends: dict[int, Callable[[Ended], None]] = {}
        self.killed: list[int] = []
        self.frozen: list[int] = []

    def launch(self, launch: Launch, ended: Callable[[Ended], None]) -> Process:
        self.ends[launch.action] = ended
        return Process(4242, 77)

    def freeze(self, actions: Iterable[int]) -> None:
        self.frozen += actions

    def interrupt(self, action: int) -> None:
        self.killed.append(action)

    def running(self) -> dict[int, Process]:
        return {action: Process(4242, 77) for action in self.ends}

    def self_test(self) -> SelfTest:
        raise NotImplementedError

    def close(self) -> None: ...


def launch(action: int, tool: str = "box.echo", **more: Any) -> Launch:
    return Launch(
        action=action, agent="a", tool=tool, command=(), cwd=None, env={}, stdin=b'{"text": "x"}', output_cap_bytes=10,
        marker="m", **{"deadline_us": None, "session": "s", **more},
    )  # fmt: skip


class Word:
    """What the server hears and says: the test's."""

    def __init__(self) -> None:
        self.asked: dict[int, asyncio.Future[Answer]] = {}
        self.heard: list[tuple[str, bytes]] = []
        self.cancelled: list[int] = []

    def ask(self, number: int, method: str, params: bytes, progress: Any) -> asyncio.Future[Answer]:
        self.heard.append((method, params))
        self.asked[number] = asyncio.get_running_loop().create_future()
        return self.asked[number]

    def cancel(self, number: int, why: str) -> None:
        self.cancelled.append(number)


class Stage:
    """One server that is asked, and ends."""

    def __init__(self) -> None:
        self.processes, self.word = Processes(), Word()
        self.executor = SessionsExecutor(self.processes)
        self.ended: dict[int, Ended] = {}
        self.over: list[Ended] = []
        who = Who(agent="a", run=1, entry=1, epochs=(("a", 1),), scopes=(), tools={}, governed=True)
        self.server = Server(
            name="box", number=FIRST, session="s", who=who, loop=asyncio.get_running_loop(),
            declared=UpstreamSettings(command=("box",), tools={"echo": PIN}),
        )  # fmt: skip
        self.executor.serve(self.server, launch(FIRST, "box", session=None), lambda _, end: self.over.append(end))
        self.server.speaker = self.word  # type: ignore[assignment]
        self.server.offer = Offer("x", "box", "1", None, (), frozenset({"resources/read"}))
        self.server.digests = {"echo": PIN}

    def launch(self, action: int, **more: Any) -> None:
        self.executor.launch(launch(action, **more), lambda end: self.ended.update({action: end}))

    async def call(self, action: int, **more: Any) -> None:
        """Launch a call, and wait until the server has it."""
        self.launch(action, **more)
        await self.turn()

    async def turn(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def answer(self, action: int, *, failed: bool = False, error: bool = False) -> None:
        self.word.asked[action].set_result(Answer(b"{}", error, failed, False))
        await self.turn()

    def end(self, **fields: Any) -> None:
        self.processes.ends[FIRST](replace(END, **fields))


def played(play: Callable[[Stage], Coroutine[Any, Any, None]]) -> Stage:
    async def run() -> Stage:
        stage = Stage()
        try:
            await play(stage)
        finally:
            stage.executor.close()
        return stage

    return asyncio.run(run())


def test_an_answer_ends_its_call_and_nothing_else() -> None:
    async def play(stage: Stage) -> None:
        for action in (5, 6, 7):
            await stage.call(action)
        await stage.answer(5)
        await stage.answer(6, failed=True)
        await stage.answer(7, error=True, failed=True)

    stage = played(play)
    said = {action: (end.state, end.exit_code) for action, end in stage.ended.items()}
    assert said == {5: ("completed", 0), 6: ("failed", 1), 7: ("failed", 2)}
    assert stage.processes.killed == []


def test_arguments_go_byte_for_byte_and_a_request_of_the_protocol_is_no_tool() -> None:
    assert as_request(launch(5)) == ("tools/call", b'{"name":"echo","arguments":{"text": "x"}}')
    assert as_request(launch(5, "box.resources/read")) == ("resources/read", b'{"text": "x"}')
    assert as_request(launch(5, 'box.a"b'))[1].startswith(b'{"name":"a\\"b",')


@pytest.mark.requirement("R6.30")
def test_what_answers_after_it_was_told_to_stop_confirms_nothing_by_that() -> None:
    async def play(stage: Stage) -> None:
        await stage.call(5)
        stage.executor.interrupt(5)
        await stage.answer(5)
        assert stage.ended == {}, "it is not over before its server is"
        stage.end()

    stage = played(play)
    assert stage.processes.killed == [FIRST]
    assert (stage.ended[5].state, stage.ended[5].why) == ("completed_after_interrupt", "ordered")
    assert stage.ended[5].proven_by == END.proven_by


def test_what_answers_and_cannot_be_shown_to_have_ended_is_unconfirmed() -> None:
    async def play(stage: Stage) -> None:
        await stage.call(5)
        stage.executor.interrupt(5)
        await stage.answer(5)
        stage.end(state="interrupted_unconfirmed", why="still there: sleep (7)")

    end = played(play).ended[5]
    assert end.state == "interrupted_unconfirmed"
    assert "still there: sleep (7)" in str(end.why)


@pytest.mark.requirement("R6.31")
def test_a_call_ends_with_its_server_and_says_of_what_it_does_not_know_that_it_does_not() -> None:
    async def play(stage: Stage) -> None:
        await stage.call(5)
        stage.end(state="failed", exit_code=3, signal=None, why="exit code 3", proven_by="it ended")

    end = played(play).ended[5]
    assert (end.state, end.exit_code) == ("unknown", None)
    assert "not known" in str(end.why)


def test_a_call_that_runs_beside_one_that_is_killed_is_told_why() -> None:
    async def play(stage: Stage) -> None:
        await stage.call(5)
        await stage.call(6)
        stage.executor.interrupt(5)
        stage.end()

    stage = played(play)
    assert {end.state for end in stage.ended.values()} == {"interrupted_confirmed"}
    assert (stage.ended[5].why, stage.ended[6].why) == (
        "ordered", "its tool server was stopped: it was stopped with action 5 (ordered)",
    )  # fmt: skip


def test_an_order_between_verdict_and_call_finds_it_unasked_and_it_never_is() -> None:
    async def play(stage: Stage) -> None:
        stage.launch(5)
        stage.executor.interrupt(5)
        await stage.turn()
        time.sleep(0.05)

    stage = played(play)
    assert (stage.ended[5].state, stage.word.heard) == ("blocked", [])
    assert stage.processes.killed == [], "the server was not asked, and goes on for others"


@pytest.mark.parametrize("how", ["doomed", "unpinned", "stale"])
@pytest.mark.requirement("R1.15")
def test_what_is_withdrawn_between_launch_and_the_turn_of_the_loop_is_never_asked(how: str) -> None:
    async def play(stage: Stage) -> None:
        elsewhere = threading.Thread(target=stage.launch, args=(5,))
        elsewhere.start()
        elsewhere.join()  # the loop has not had its turn yet
        if how == "doomed":
            stage.executor.doom(stage.server, "its settings were changed")
        elif how == "unpinned":
            stage.server.declared = UpstreamSettings(command=("box",))
        else:
            stage.server.stale = True
        await stage.turn()

    stage = played(play)
    assert (stage.ended[5].state, stage.ended[5].proven_by) == ("blocked", "it was never asked")
    assert stage.word.heard == []


def test_a_reason_to_end_a_server_holds_none_of_its_secrets() -> None:
    async def play(stage: Stage) -> None:
        stage.server.redaction = Redaction({"shop": "k3y-0f-the-shop"})
        stage.executor.doom(stage.server, "it does not list its tools: k3y-0f-the-shop")
        with pytest.raises(Refused) as refused:
            stage.launch(5)
        assert "k3y" not in refused.value.message

    played(play)


def test_a_server_that_calls_itself_or_a_tool_by_its_secret_tells_nobody() -> None:
    async def play(stage: Stage) -> None:
        server, secret = stage.server, "k3y-0f-the-shop"
        server.redaction = Redaction({"shop": secret})
        named = read_definition(b'{"name":"%b","inputSchema":{}}' % secret.encode())
        server.offer = Offer("2025-11-25", secret, secret, None, (named,), frozenset())
        server.digests = digests_of(server.offer)
        assert secret not in str(listed(server, server.offer))
        for governed in (True, False):
            assert secret not in str(told_of(server, replace(server.who, governed=governed)))

    played(play)


@pytest.mark.requirement("R28.24")
def test_sessions_that_are_asked_for_in_one_breath_are_counted_before_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)

    async def flood() -> list[object]:
        never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        node: Any = SimpleNamespace(
            writer=SimpleNamespace(submit_async=lambda job: never), settings=SimpleNamespace(upstreams={})
        )
        of_one, connection = sessions.Sessions(node, SessionsExecutor(Processes())), cast("Any", object())
        opening = [asyncio.ensure_future(of_one.open(connection, "a", 1, ("box",))) for _ in range(5)]
        await asyncio.sleep(0)
        refused = [each.exception() for each in opening if each.done()]
        never.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        return list(refused)

    refused = asyncio.run(flood())
    assert [getattr(each, "code", None) for each in refused] == ["busy", "busy"]


@pytest.mark.parametrize("how", ["doomed", "changed", "stale", "ended", "stranger"])
@pytest.mark.requirement("R1.10")
@pytest.mark.requirement("R8.32")
def test_nothing_is_asked_of_a_server_that_is_to_end_or_is_not_what_was_accepted(how: str) -> None:
    async def play(stage: Stage) -> None:
        session = "s"
        if how == "doomed":
            stage.executor.doom(stage.server, "a was suspended")
        elif how == "changed":
            stage.server.digests = {"echo": "cd" * 32}
        elif how == "stale":
            stage.server.stale = True
        elif how == "ended":
            stage.end()
        else:
            session = "t"
        with pytest.raises(Refused):
            stage.launch(5, session=session)
        await stage.turn()

    stage = played(play)
    assert (stage.ended, stage.word.heard) == ({}, [])


def test_a_server_that_is_stopped_before_it_runs_is_killed_as_soon_as_it_does() -> None:
    async def play(stage: Stage) -> None:
        server = stage.server
        late = Server("late", FIRST - 1, "s", server.who, server.declared, server.loop)
        launched = stage.processes.launch

        def meanwhile(asked: Launch, ended: Callable[[Ended], None]) -> Process:
            stage.executor.doom(late, "a was suspended")  # from another thread, while it is being started
            return launched(asked, ended)

        stage.processes.launch = meanwhile  # type: ignore[assignment]
        stage.executor.serve(late, launch(FIRST - 1, "late", session=None), lambda *_: None)
        with pytest.raises(Refused, match="was suspended"):
            stage.executor.serve(late, launch(FIRST - 1, "late", session=None), lambda *_: None)

    assert played(play).processes.killed == [FIRST - 1]


def test_deadlines_hold_also_while_the_loop_stands_still() -> None:
    async def play(stage: Stage) -> None:
        await stage.call(5, deadline_us=60_000_000)
        await stage.call(6, deadline_us=50_000)
        time.sleep(0.3)
        assert stage.processes.killed == [FIRST]
        stage.end()

    stage = played(play)
    assert stage.ended[6].why == "deadline"
    assert "action 6 (deadline)" in str(stage.ended[5].why)


def test_a_call_that_is_not_wanted_is_told_so_and_its_end_says_by_whom() -> None:
    async def play(stage: Stage) -> None:
        await stage.call(5)
        assert stage.executor.cancel(5, "cancelled by its caller")
        assert not stage.executor.cancel(6, "cancelled by its caller")
        await stage.turn()
        await stage.answer(5, error=True)

    stage = played(play)
    assert stage.word.cancelled == [5]
    assert (stage.ended[5].state, stage.ended[5].why) == ("failed", "cancelled by its caller")


def test_a_freeze_of_a_call_stops_its_whole_server_where_it_stands() -> None:
    async def play(stage: Stage) -> None:
        await stage.call(5)
        stage.executor.freeze((5, 99))

    assert sorted(played(play).processes.frozen) == [FIRST, 99]
