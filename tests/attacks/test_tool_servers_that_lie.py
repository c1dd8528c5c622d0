"""A tool server that lies, floods, falls silent or says too much, seen from the one connection that we have to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from failwell.core.errors import Unreachable
from failwell.node.upstreams import greeting, pipes, speaking
from failwell.node.upstreams.speaking import Answer, Progress, Speaker

CAP = 1_000
TOOL = {"name": "read", "description": "", "inputSchema": {"type": "object"}}
ABLE = {"tools": {"listChanged": True}, "resources": {}}
CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
FINE = {"content": [{"type": "text", "text": "fine"}]}
CALL = b'{"name":"read","arguments":{}}'


class Theirs:
    """The other end: says and hears what a test wants, in the process of the test."""

    def __init__(self, reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
        self._reading = reading
        self.writing = writing
        self.heard: list[dict[str, Any]] = []

    async def hear(self, method: str | None = None) -> dict[str, Any]:
        """The next message, or the next one with that method."""
        while line := await self._reading.readline():
            self.heard.append(json.loads(line))
            if method in (None, self.heard[-1].get("method")):
                return self.heard[-1]
        raise EOFError

    async def hear_line(self) -> bytes:
        return await self._reading.readline()

    def say(self, *messages: object) -> None:
        for each in messages:
            self.writing.write(each if isinstance(each, bytes) else json.dumps(each).encode())
            self.writing.write(b"\n")

    def answer(self, request: dict[str, Any], result: object = FINE) -> None:
        self.say({"jsonrpc": "2.0", "id": request["id"], "result": result})

    async def begin(self, *tools: object, able: object = ABLE) -> None:
        """What an honest server says first."""
        told = {"protocolVersion": "2025-11-25", "capabilities": able, "serverInfo": {"name": "x", "version": "1"}}
        self.answer(await self.hear("initialize"), told)
        self.answer(await self.hear("tools/list"), {"tools": tools or (TOOL,)})


class Ours:
    """A speaker, and what it was told."""

    def __init__(self) -> None:
        self.changed = 0
        self.gone: list[str] = []
        reading, theirs_out = os.pipe()
        theirs_in, writing = os.pipe()
        self.theirs = (theirs_in, theirs_out)
        self.speaker = Speaker("x", reading, writing, cap_bytes=CAP, changed=self._changed, gone=self.gone.append)
        self._numbers = iter(range(100, 10_000))

    def _changed(self) -> None:
        self.changed += 1

    def call(self, progress: Callable[[Progress], None] | None = None, method: str = "tools/call") -> Awaitable[Answer]:
        return self.speaker.ask(next(self._numbers), method, CALL, progress)


@contextlib.asynccontextmanager
async def connected(*tools: object, begin: bool = True) -> AsyncIterator[tuple[Ours, Theirs]]:
    ours = Ours()
    loop = asyncio.get_running_loop()
    reading = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reading), os.fdopen(ours.theirs[0], "rb", 0))
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(ours.theirs[1], "wb", 0)
    )
    theirs = Theirs(reading, asyncio.StreamWriter(transport, protocol, None, loop))
    try:
        if begin:
            honest = asyncio.create_task(theirs.begin(*tools))
            await ours.speaker.begin(5)
            await honest
        yield ours, theirs
    finally:
        ours.speaker.close()
        transport.close()
        await asyncio.sleep(0)


def attack(play: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await play()

    asyncio.run(bounded())


@pytest.mark.requirement("R30.7")
def test_only_the_answer_under_its_own_number_ends_a_call_and_only_once() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            first, second = ours.call(), ours.call()
            one, two = await theirs.hear("tools/call"), await theirs.hear("tools/call")
            lies = {"content": [], "isError": False, "lie": True}
            for number in (str(one["id"]), float(one["id"]), True, None, one["id"] + 1000, -1, [one["id"]]):
                theirs.say({"jsonrpc": "2.0", "id": number, "result": lies})
            theirs.answer(two, {"content": [], "mine": 2})
            theirs.answer(two, lies)
            theirs.answer(one, {"content": [], "mine": 1})
            theirs.answer(one, lies)
            assert json.loads((await second).raw) == {"content": [], "mine": 2}
            assert json.loads((await first).raw) == {"content": [], "mine": 1}
            again = ours.call()
            request = await theirs.hear("tools/call")
            assert request["id"] not in (one["id"], two["id"])
            theirs.answer(request)
            assert json.loads((await again).raw) == FINE

    attack(play)


def test_an_answer_that_is_none_ends_its_call_as_an_error() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            for raw in (
                b'"result":[]', b'"result":{},"error":{}', b'"result":{"a":' + b"[" * 90 + b"]" * 90 + b"}",
                b'"result":{"isError":true,"isError":false}', b'"result":{"resultType":"input_required"}',
            ):  # fmt: skip
                call = ours.call()
                request = await theirs.hear("tools/call")
                theirs.say(b'{"jsonrpc":"2.0","id":%d,%b}' % (request["id"], raw))
                answer = await call
                assert answer.error
                assert answer.failed
                assert answer.lost != (b"input_required" in raw)  # what asks first has done nothing yet, as it says
                assert json.loads(answer.raw)["code"] == -32603

    attack(play)


def test_noise_between_the_messages_is_nobodys_answer() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            call = ours.call()
            request = await theirs.hear("tools/call")
            theirs.say(b"Listening on stdio...", b"", b"\x00\xff\xfe", b"[" * 10_000, b'{"jsonrpc":"2.0"}', b"null")
            theirs.answer(request)
            assert json.loads((await call).raw) == FINE
            assert ours.gone == []

    attack(play)


@pytest.mark.parametrize("late", [False, True], ids=["number first", "number last"])
def test_a_line_longer_than_is_read_ends_its_own_call_and_no_other(late: bool) -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            long, short = ours.call(), ours.call()
            one, two = await theirs.hear("tools/call"), await theirs.hear("tools/call")
            result = b'"result":{"content":[{"type":"text","text":"%b"}]}' % (b"x" * 5_000_000)
            number = b'"id":%d' % one["id"]
            theirs.say(b'{%b,"jsonrpc":"2.0",%b}' % ((result, number) if late else (number, result)))
            theirs.answer(two)
            answer = await long
            assert answer.truncated
            assert not answer.failed
            assert "may have been done" in json.loads(answer.raw)["content"][0]["text"]
            assert json.loads((await short).raw) == FINE

    attack(play)


def test_a_result_over_the_cap_is_told_and_not_passed_on() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            for method, error in (("tools/call", False), ("resources/read", True)):
                call = ours.call(method=method)
                theirs.answer(await theirs.hear(method), {"content": "y" * CAP})
                answer = await call
                assert (answer.truncated, answer.error) == (True, error)
                assert b"yyy" not in answer.raw

    attack(play)


@pytest.mark.requirement("R1.14")
def test_arguments_hold_no_second_message_wherever_their_lines_end() -> None:
    """Attack: a call that the contract allows, with a call of another tool on a line of its own between two members."""
    inner = b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"delete_all","arguments":{}}}'

    async def play() -> None:
        async with connected() as (ours, theirs):
            for end in (b"\n", b"\r", b"\r\n"):
                arguments = b'{"options":{"a":%b%b%b}}' % (end, inner, end)
                call = ours.speaker.ask(7, "tools/call", b'{"name":"read","arguments":%b}' % arguments, None)
                line = await theirs.hear_line()
                assert b"\r" not in line
                assert json.loads(line)["params"]["arguments"] == {"options": {"a": json.loads(inner)}}
                theirs.answer(json.loads(line))
                assert json.loads((await call).raw) == FINE

    attack(play)


@pytest.mark.requirement("R6.33")
def test_a_failure_that_is_too_long_is_still_one() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            call = ours.call()
            asked = await theirs.hear("tools/call")
            theirs.say({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": 1, "message": "e" * CAP}})
            answer = await call
            assert (answer.error, answer.failed, answer.truncated) == (True, True, True)
            call = ours.call()
            theirs.answer(await theirs.hear("tools/call"), {"content": "y" * CAP, "isError": True})
            answer = await call
            assert (answer.error, answer.failed, answer.truncated) == (False, True, True)

    attack(play)


@pytest.mark.parametrize("inside", [b'"error":{"code":1,"message":"%b"}', b'"result":{"text":"%b","isError":true}'])
def test_an_overlong_failure_is_no_result(inside: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "MAX_LISTED_BYTES", 100_000)

    async def play() -> None:
        async with connected() as (ours, theirs):
            call = ours.call()
            asked = await theirs.hear("tools/call")
            theirs.say(b'{"jsonrpc":"2.0","id":%d,%b}' % (asked["id"], inside % (b"x" * 300_000)))
            answer = await call
            assert answer.lost, "nobody knows what was done"

    attack(play)


def test_an_overlong_log_line_ends_no_call_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: the one call that runs is taken for complete, and goes on."""
    monkeypatch.setattr(speaking, "MAX_LISTED_BYTES", 100_000)

    async def play() -> None:
        async with connected() as (ours, theirs):
            call = ours.call()
            await theirs.hear("tools/call")
            said = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 300_000}}
            theirs.say(said)
            with pytest.raises(Unreachable):
                await call
            assert len(ours.gone) == 1

    attack(play)


@pytest.mark.requirement("R30.14")
def test_a_request_of_a_servers_own_that_is_none_answers_no_call_of_its_number() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            call = ours.call()
            asked = await theirs.hear("tools/call")
            theirs.say({"jsonrpc": "2.0", "id": asked["id"], "method": "roots/list", "params": None})
            theirs.say({"id": asked["id"], "method": "roots/list"})
            theirs.answer(asked)
            answer = await call
            assert not answer.lost
            assert json.loads(answer.raw) == FINE

    attack(play)


@pytest.mark.requirement("R28.22")
def test_a_long_line_that_answers_nothing_or_never_ends_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "MAX_LISTED_BYTES", 100_000)

    async def play(line: bytes, end: bytes) -> None:
        async with connected() as (ours, theirs):
            calls = [ours.call(), ours.call()]
            await theirs.hear("tools/call")
            theirs.writing.write(line + end)
            for call in calls:
                with pytest.raises(Unreachable):
                    await call
            assert len(ours.gone) == 1

    attack(lambda: play(b"x" * 300_000, b"\n"))
    attack(lambda: play(b'{"id":1,' + b"x" * 2_000_000, b""))


def test_closing_in_the_middle_of_an_answer_is_no_answer() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            call = ours.call()
            request = await theirs.hear("tools/call")
            theirs.writing.write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[]}' % request["id"])
            await theirs.writing.drain()
            theirs.writing.close()
            with pytest.raises(Unreachable, match="closed its output"):
                await call
            assert ours.gone == ["it closed its output"]
            with pytest.raises(Unreachable):
                await ours.call()

    attack(play)


@pytest.mark.requirement("R28.20")
def test_a_flood_is_read_slowly_while_the_loop_goes_on_and_the_answer_in_it_arrives() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            call = ours.call()
            request = await theirs.hear("tools/call")
            note = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%b"}}\n' % (b"x" * 200)
            theirs.writing.write(note * speaking.UNASKED_BURST)
            theirs.answer(request)
            assert json.loads((await call).raw) == FINE
            # From here on it is slowed down: what it sends stays with it, and nothing of it is kept here.
            theirs.writing.write(note * 20_000)
            turns = 0
            until = asyncio.get_running_loop().time() + 0.4
            while asyncio.get_running_loop().time() < until:
                await asyncio.sleep(0)
                turns += 1
            assert turns > 50
            transport: Any = theirs.writing.transport
            assert transport.get_write_buffer_size() > len(note) * 10_000
            assert ours.gone == []

    attack(play)


def test_a_flood_of_few_and_long_messages_is_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: each takes the loop, and whoever is behind it, as long as a thousand short ones."""
    monkeypatch.setattr(speaking, "UNASKED_BURST", 10)

    async def play() -> None:
        async with connected() as (ours, theirs):
            began = time.monotonic()
            call = ours.call()
            asked = await theirs.hear("tools/call")
            theirs.say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 100_000}})
            theirs.answer(asked)
            assert json.loads((await call).raw) == FINE
            assert time.monotonic() - began >= speaking.REST_S

    attack(play)


def test_a_server_is_given_nothing_that_it_asks_for() -> None:
    async def play() -> None:
        async with connected() as (_ours, theirs):
            first = theirs.heard[0]["params"]
            assert first["capabilities"] == {}
            for method in ("sampling/createMessage", "elicitation/create", "roots/list", "tools/call"):
                theirs.say({"jsonrpc": "2.0", "id": "q", "method": method, "params": {}})
                refusal = await theirs.hear()
                assert refusal["id"] == "q"
                assert refusal["error"]["code"] == -32601
            theirs.say({"jsonrpc": "2.0", "id": 1, "method": "ping"})
            assert await theirs.hear() == {"jsonrpc": "2.0", "id": 1, "result": {}}

    attack(play)


def test_a_server_that_does_not_read_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "MOST_UNREAD_BYTES", 1_000_000)

    async def play() -> None:
        ours = Ours()
        began = asyncio.create_task(ours.speaker.begin(5))
        await asyncio.sleep(0)
        for _ in range(30):
            ours.speaker.ask(1, "tools/call", b'{"a":"' + b"x" * 100_000 + b'"}', None)
        with pytest.raises(Unreachable):
            await began
        assert "does not read" in ours.gone[0]
        for descriptor in ours.theirs:
            os.close(descriptor)

    attack(play)


@pytest.mark.parametrize(("again", "words"), [(True, "comes back"), (False, "pages")])
@pytest.mark.requirement("R28.21")
def test_a_list_that_never_ends_is_not_read_to_its_end(again: bool, words: str) -> None:
    async def play() -> None:
        async with connected(begin=False) as (ours, theirs):

            async def pages() -> None:
                told = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}
                theirs.answer(await theirs.hear("initialize"), told)
                for page in range(greeting.MAX_PAGES + 1):
                    tool = {**TOOL, "name": f"t{page}"}
                    cursor = "same" if again else f"page {page}"
                    theirs.answer(await theirs.hear("tools/list"), {"tools": [tool], "nextCursor": cursor})

            saying = asyncio.create_task(pages())
            with pytest.raises(Unreachable, match=words):
                await ours.speaker.begin(5)
            saying.cancel()

    attack(play)


@pytest.mark.requirement("R30.11")
def test_two_tools_of_one_name_are_both_left_out_and_so_is_what_is_no_definition() -> None:
    async def play() -> None:
        async with connected(begin=False) as (ours, theirs):
            tools = (TOOL, {**TOOL, "name": "twice"}, {**TOOL, "name": "twice", "description": "!"}, {"name": "bare"})
            saying = asyncio.create_task(theirs.begin(*tools))
            offer = await ours.speaker.begin(5)
            await saying
            assert [each.name for each in offer.definitions] == ["read"]
            assert [name for name, _ in offer.left_out] == ["twice", "tool 4 of its list"]

    attack(play)


@pytest.mark.parametrize("said", [
    None, {"result": {}}, {"result": {"protocolVersion": "2031-01-01", "capabilities": {}}},
    {"error": {"code": -1, "message": "go\u202eaway"}},
])  # fmt: skip
def test_a_server_that_does_not_begin_is_not_begun(said: dict[str, Any] | None) -> None:
    async def play() -> None:
        async with connected(begin=False) as (ours, theirs):

            async def refusing() -> None:
                while said is not None:
                    theirs.say({"jsonrpc": "2.0", "id": (await theirs.hear())["id"], **said})

            saying = asyncio.create_task(refusing())
            with pytest.raises(Unreachable) as refused:
                await ours.speaker.begin(0.5)
            assert "\u202e" not in refused.value.message
            saying.cancel()

    attack(play)


@pytest.mark.requirement("R30.10")
def test_a_change_is_told_before_what_the_server_says_after_it() -> None:
    # Attack: one answer that makes the agent call a tool again, which is another one by then.
    async def play() -> None:
        async with connected() as (ours, theirs):
            call = asyncio.ensure_future(ours.call())
            request = await theirs.hear("tools/call")
            seen: list[int] = []
            call.add_done_callback(lambda _: seen.append(ours.changed))
            theirs.say(CHANGED)
            theirs.answer(request)
            await call
            await asyncio.sleep(0)
            assert seen == [1]

            listing = asyncio.create_task(ours.speaker.offer(5))
            theirs.answer(await theirs.hear("tools/list"), {"tools": [{**TOOL, "description": "Now another."}]})
            assert "another" in (await listing).definitions[0].raw.decode()

    attack(play)


def test_a_change_while_the_list_is_read_is_told_once_it_was_read() -> None:
    async def play() -> None:
        async with connected(begin=False) as (ours, theirs):

            async def hasty() -> None:
                theirs.say(CHANGED)
                await theirs.begin()

            saying = asyncio.create_task(hasty())
            await ours.speaker.begin(5)
            assert ours.changed == 0  # there is nobody yet who could look again
            await saying
            await asyncio.sleep(0.01)
            assert ours.changed == 1

    attack(play)


def test_progress_is_of_ones_own_call_goes_forward_and_is_one_line_of_what_can_be_seen() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            seen: list[Progress] = []
            call, other = ours.call(seen.append), ours.call()
            request, silent = await theirs.hear("tools/call"), await theirs.hear("tools/call")
            token = request["params"]["_meta"]["progressToken"]
            assert "_meta" not in silent["params"]

            def tell(**params: object) -> None:
                theirs.say({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})

            tell(progressToken=silent["id"], progress=1)
            tell(progressToken=token, progress="1")
            tell(progressToken=str(token), progress=1)
            tell(progressToken=token, progress=1, total=2, message="a\u202eb\n\x1b[2J")
            tell(progressToken=token, progress=1.5)  # too soon after the one before
            await asyncio.sleep(speaking.PROGRESS_S * 2)
            tell(progressToken=token, progress=0.5)
            tell(progressToken=token, progress=2)
            theirs.answer(request)
            theirs.answer(silent)
            await call
            await other
            tell(progressToken=token, progress=3)
            await asyncio.sleep(0.05)
            assert seen == [Progress(1, 2, "a�b �[2J"), Progress(2, None, None)]

    attack(play)


def test_a_cancellation_names_the_call_and_ends_nothing_by_itself() -> None:
    async def play() -> None:
        async with connected() as (ours, theirs):
            call = ours.speaker.ask(77, "tools/call", CALL, None)
            request = await theirs.hear("tools/call")
            ours.speaker.cancel(77, "the agent\nwants it no more")
            told = await theirs.hear("notifications/cancelled")
            assert told["params"] == {"requestId": request["id"], "reason": "the agent wants it no more"}
            await asyncio.sleep(0.05)
            assert not call.done()
            theirs.answer(request)
            assert not (await call).failed

    attack(play)


def test_a_stateless_server_is_told_with_each_request_who_asks_and_is_listened_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play() -> None:
        async with connected(begin=False) as (ours, theirs):

            async def stateless() -> None:
                request = await theirs.hear("initialize")
                theirs.say({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32022, "message": "no"}})
                told = {"supportedVersions": ["2026-07-28"], "capabilities": ABLE}
                theirs.answer(await theirs.hear("server/discover"), told)
                theirs.answer(await theirs.hear("tools/list"), {"tools": [TOOL]})

            saying = asyncio.create_task(stateless())
            offer = await ours.speaker.begin(5)
            await saying
            assert offer.protocol == "2026-07-28"
            listening = await theirs.hear("subscriptions/listen")
            assert listening["params"]["notifications"] == {"toolsListChanged": True}
            # What it did not tell while nobody listened is looked for, and it is listened to again.
            monkeypatch.setattr(speaking, "LISTEN_AGAIN_S", 0.01)
            theirs.answer(listening, {})
            listening = await theirs.hear("subscriptions/listen")
            assert ours.changed == 1
            theirs.say({"jsonrpc": "2.0", "id": listening["id"], "error": {"code": -32601, "message": "no more"}})
            call = ours.call()
            request = await theirs.hear("tools/call")
            assert request["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
            assert request["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}
            theirs.answer(request)
            await call

    attack(play)
