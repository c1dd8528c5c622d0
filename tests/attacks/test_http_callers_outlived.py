"""The adversary was somebody at the HTTP door, and goes on being it: by what the door took before, or by bad timing.

The door's judgement of callers is in this process, before a real node.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from failwell.client import powers
from failwell.core import orders as o
from failwell.core.errors import Refused, Unhealthy, Unreachable
from failwell.core.instants import format_at
from failwell.identity import keys
from failwell.identity.persons import sign_order
from failwell.node.reached import HttpSettings
from failwell.web import acting, giving, reading, shapes
from failwell.web.bodies import RawObject
from failwell.web.door import MOST_WAITS, Asked
from failwell.web.door import Door as WebDoor
from failwell.web.events import Stream
from failwell.web.links import Links
from failwell.web.node_line import NodeLine
from tests.attacks.test_signed_requests_forged import BOT, OTHER, Door, opened, scope, tls
from tests.simulate.fixtures import house, stage
from tests.simulate.house import SETTINGS, House, apply
from tests.unit.identity.authority import Authority, pem

__all__ = ["house", "stage"]
MESH = '\n[trust.mesh]\nkind = "x509-svid"\ntrust_domain = "shop.example"\nbundle = "mesh.pem"\n'


def web(house: House, door: Door) -> WebDoor:
    return WebDoor(house.workspace, HttpSettings(), door.callers)


def asked(caller: Any, body: Any = None, **path: str) -> Asked:
    async def never() -> Any:
        await asyncio.Event().wait()

    return Asked(scope={}, receive=never, raw=b"", caller=caller, body=body, path=path)


def trusted_for_now(house: House) -> tuple[dict[str, Any], bytes]:
    """A request that shows a certificate of a domain that the settings trust from now on."""
    mesh = Authority("spiffe://shop.example")
    (house.workspace.path / "mesh.pem").write_text(pem(mesh.certificate))
    apply(house, SETTINGS + MESH)
    made = pem(mesh.sign(keys.generate().private.public_key(), [BOT]))
    return scope({}, extensions=tls(base64.b64decode("".join(made.split("\n")[1:-2])))), b""


@pytest.mark.requirement("R8.38")
def test_an_authority_that_was_given_up_reads_nothing_more_by_certificates_that_the_door_took(house: House) -> None:
    house.node()
    shown = trusted_for_now(house)

    async def work() -> None:
        async with opened(house) as door:
            caller = await door.taken(shown)
            run = await caller.wire.call("run.open", agent=BOT)
            assert (await acting.read_run(web(house, door), asked(caller, run=str(run)))).run == run
            await asyncio.to_thread(apply, house, SETTINGS)
            with pytest.raises(Refused, match="not proved any more") as refused:
                await acting.read_run(web(house, door), asked(caller, run=str(run)))
            assert refused.value.code == "unauthenticated"
            await door.refused(shown)

    asyncio.run(work())


@pytest.mark.requirement("R8.37")
def test_an_authority_that_was_given_up_speaks_for_nobody_over_the_connection_of_an_agent_who_goes_on(
    house: House,
) -> None:
    house.node()
    shown = trusted_for_now(house)

    async def work() -> None:
        async with opened(house) as door:
            thief, own = await door.taken(shown), await door.taken(door.request())
            assert thief.wire is own.wire
            await asyncio.to_thread(apply, house, SETTINGS)
            async with asyncio.timeout(10):
                while door.callers._proofs:  # the node says so; it is on its way
                    await asyncio.sleep(0.01)
            await door.refused(shown)
            again = await door.taken(door.request())
            assert again.wire is own.wire
            assert await again.wire.call("run.open", agent=BOT) > 0

    asyncio.run(work())


@pytest.mark.requirement("R28.26")
def test_a_caller_whom_a_silent_node_took_too_late_is_nobody_and_keeps_nobody_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = house.node()

    async def work() -> None:
        async with opened(house) as door:
            spare = await door.callers._links.fresh()
            hello = spare.call

            async def impatient(do: str, **fields: Any) -> Any:
                return await hello(do, **{**fields, "timeout_s": 0.2})

            monkeypatch.setattr(spare, "call", impatient)
            await door.callers._links.give_back(spare)
            os.kill(node.pid, signal.SIGSTOP)
            try:
                with pytest.raises(Unreachable):
                    await door.callers.of(*door.request())
            finally:
                os.kill(node.pid, signal.SIGCONT)
            await asyncio.sleep(0.1)
            for name in ("other-bot", "bot-00", "refund-bot"):
                assert (await door.taken(door.request(name))).name == house.full(name)

    asyncio.run(work())


@pytest.mark.requirement("R6.34")
def test_an_action_whose_stream_ends_while_leave_is_given_is_not_begun_by_anybody(house: House) -> None:
    house.node()

    async def work() -> None:
        async with opened(house) as door:
            made, caller = web(house, door), await door.taken(door.request("other-bot"))
            stream = Stream(caller)
            made.streams[stream.name] = stream
            run, call = await caller.wire.call("run.open", agent=OTHER), caller.wire.call

            async def hung_up_on(do: str, **fields: Any) -> Any:
                told = await call(do, **fields)
                if do == "act":
                    del made.streams[stream.name]
                    await stream.close()
                return told

            caller.wire.call = hung_up_on  # type: ignore[method-assign]
            body = shapes.ProposeBegin(
                run=run, call="c-1", tool="desk.ask", arguments=RawObject('{"customer": "c1"}'),
                stream=stream.name,
            )  # fmt: skip
            with pytest.raises(acting.Conflict, match="stream ended") as lost:
                await acting.begin(made, asked(caller, body))
            assert lost.value.code == "not-open"
            async with asyncio.timeout(10):
                while (await call("ask", about="action", key=lost.value.entry))["state"] == "open":
                    await asyncio.sleep(0.02)

    asyncio.run(work())


def test_one_agent_waits_for_so_many_answers_and_leaves_places_to_others(house: House) -> None:
    house.node()

    async def work() -> None:
        async with opened(house) as door:
            made, caller = web(house, door), await door.taken(door.request())
            run = await caller.wire.call("run.open", agent=BOT)
            told = await caller.wire.call(
                "act", agent=BOT, run=run, call="c-1", tool="note.write", how="decide",
                arguments='{"customer": "maybe", "millis": 0}',
            )  # fmt: skip
            ticket = told["ticket"] if "ticket" in told else told["verdict"]["ticket"]
            question = asked(caller, ticket=str(ticket))
            question.query = shapes.TicketQuery(wait_s=20)
            waits = [asyncio.ensure_future(reading.ticket(made, question)) for _ in range(MOST_WAITS)]
            await asyncio.sleep(0.2)
            with pytest.raises(Unhealthy, match="already") as crowded:
                await reading.ticket(made, question)
            assert crowded.value.code == "crowded"
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            question.query = shapes.TicketQuery(wait_s=0)
            assert (await reading.ticket(made, question)).state == "open"

    asyncio.run(work())


def order(house: House, origin: str, ago_s: float = 0) -> shapes.GiveOrders:
    """A suspension that anna signs."""
    made = powers.make_order(
        "agent.suspend", origin, "anna", o.shown_digest(b"x"), o.AgentSuspend(agent=house.full("bot-00"), reason="x")
    )
    made = msgspec.structs.replace(made, at=format_at(int((time.time() - ago_s) * 1e6)))
    return shapes.GiveOrders(orders=(shapes.SignedOrder(**powers.as_fields(sign_order(house.persons["anna"], made))),))


@pytest.mark.requirement("R8.39")
@pytest.mark.requirement("R8.40")
def test_a_stop_that_was_given_before_or_elsewhere_stops_nobody_while_the_node_is_silent(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, origin = house.node(), house.workspace.origin()
    given, fresh = order(house, origin), order(house, origin)
    old, elsewhere = order(house, origin, ago_s=3 * 86_400), order(house, "failwell.example/other")

    async def work() -> None:
        async with opened(house) as door:
            made = web(house, door)
            learning = asyncio.ensure_future(made.persons.learn())
            assert isinstance(await giving.give(made, asked(None, given)), shapes.Given)
            monkeypatch.setattr(made.stops, "_timeout_s", 0.2)
            os.kill(node.pid, signal.SIGSTOP)
            try:
                for each in (given, old, elsewhere):
                    with pytest.raises(Refused):
                        await giving.give(made, asked(None, each))
                assert isinstance(await giving.give(made, asked(None, fresh)), shapes.Left)
            finally:
                os.kill(node.pid, signal.SIGCONT)
                learning.cancel()
                await made.close()

    asyncio.run(work())


def test_strangers_are_told_no_paths_of_this_machine(tmp_path: Path) -> None:
    async def work() -> None:
        asks = (lambda: Links(tmp_path / "node.sock", tmp_path).fresh(), lambda: NodeLine(tmp_path / "x").ask("status"))
        for ask in asks:
            with pytest.raises(Unreachable) as told:
                await ask()
            assert str(tmp_path) not in f"{told.value.message} {told.value.hint}"

    asyncio.run(work())
