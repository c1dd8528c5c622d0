"""Starting tool servers once, to learn what they offer: before anybody accepted anything, so outside the node.

Each runs under a supervisor of its own, like every tool; when it has answered, or its time is over, it and whatever it
started is killed, and with this process everything goes. Nobody calls a tool of it. What it does by itself when it is
started is its own doing: it is started as its client has started it until now.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failwell.core.errors import FailwellError

if TYPE_CHECKING:
    from failwell.execute.supervised import SupervisedExecutor
    from failwell.mcp.definitions import Definition
    from failwell.node.reached import UpstreamSettings
    from failwell.node.redacting import Redaction
    from failwell.node.upstreams.speaking import Speaker
    from failwell.ports.executor import Ended

AT_ONCE = 4
END_S = 5.0
_CAP_BYTES = 4 * 1024 * 1024
#: What gives a request of the protocol a use: the list that it is about, and its name in the answer.
_LISTS = {"resources/list": "resources", "resources/templates/list": "resourceTemplates", "prompts/list": "prompts"}
_WITH = {"resources/list": ("resources/list", "resources/read"), "prompts/list": ("prompts/list", "prompts/get"),
         "resources/templates/list": ("resources/templates/list", "resources/read")}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of it: `why` it gave nothing, or what it offers. `methods` are requests beside tools that give
    something, `left_out` tools that cannot be offered to anybody, with the reason.
    """

    why: str | None = None
    says: str = ""
    protocol: str = ""
    definitions: tuple[Definition, ...] = ()
    methods: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def ask_servers(
    servers: Mapping[str, UpstreamSettings], secrets: Mapping[str, Mapping[str, str]], cwd: Path
) -> dict[str, Asked]:  # fmt: skip
    """What each of them offers. `secrets`: server -> variable or header -> value; `cwd`: where the node would stand."""
    return asyncio.run(_ask_servers(servers, secrets, cwd))


async def _ask_servers(
    servers: Mapping[str, UpstreamSettings], secrets: Mapping[str, Mapping[str, str]], cwd: Path
) -> dict[str, Asked]:  # fmt: skip
    from failwell.execute.supervised import SupervisedExecutor

    room = asyncio.Semaphore(AT_ONCE)
    with tempfile.TemporaryDirectory(prefix="failwell-asked-") as place:
        executor = await asyncio.to_thread(SupervisedExecutor, Path(place) / "run", Path(place) / "reports")

        async def one(number: int, name: str) -> Asked:
            async with room:
                return await _ask(executor, number, name, servers[name], secrets.get(name, {}), cwd)

        try:
            found = await asyncio.gather(*(one(number, name) for number, name in enumerate(servers, 1)))
        finally:
            await asyncio.to_thread(executor.close)
    return dict(zip(servers, found, strict=True))


async def _ask(
    executor: SupervisedExecutor, number: int, name: str, declared: UpstreamSettings, secrets: Mapping[str, str],
    cwd: Path,
) -> Asked:  # fmt: skip
    from failwell.node.broker import Held, own_surroundings
    from failwell.node.redacting import Redaction
    from failwell.node.upstreams.reaching import command_of, environment_of
    from failwell.node.upstreams.speaking import Speaker
    from failwell.ports.executor import Launch

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Ended] = loop.create_future()
    held = Held(secrets=dict(secrets), surroundings=own_surroundings() if secrets else {})

    def told(end: Ended) -> None:
        loop.call_soon_threadsafe(_set, ended, end)

    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    try:
        launch = Launch(
            action=number, agent="import", tool=name, command=command_of(declared), cwd=str(cwd / (declared.cwd or "")),
            env=environment_of(declared, held), stdin=b"", deadline_us=(declared.start_ms + 30_000) * 1000,
            output_cap_bytes=0, marker=f"import-{os.getpid()}-{number}", stdio=(theirs_in, theirs_out),
            limits={} if declared.limits is None else declared.limits.rlimits(),
        )  # fmt: skip
        await asyncio.to_thread(executor.launch, launch, told)
    except FailwellError as error:
        os.close(ours_out)
        os.close(ours_in)
        return Asked(why=error.message)
    finally:
        os.close(theirs_in)
        os.close(theirs_out)
    speaker = Speaker(name, ours_in, ours_out, cap_bytes=_CAP_BYTES, changed=lambda: None, gone=lambda why: None)
    redaction = Redaction(dict(secrets))
    try:
        return _hidden(await _asked(speaker, declared.start_ms / 1000, ended), redaction)
    except FailwellError as error:
        return Asked(why=redaction.text(await _why(error, ended)))
    finally:
        speaker.close()
        executor.interrupt(number)
        await asyncio.wait({ended}, timeout=END_S)


def _hidden(asked: Asked, redaction: Redaction) -> Asked:
    """The same without what it repeats of its secrets: a definition with one in it is nobody's to read."""
    plain = tuple(
        each for each in asked.definitions if redaction.text(each.raw.decode("utf-8", "replace")).encode() == each.raw
    )
    left = {each.name for each in asked.definitions} - {each.name for each in plain}
    repeats = tuple((name, "its definition repeats a secret that its server holds") for name in sorted(left))
    return replace(asked, says=redaction.text(asked.says), definitions=plain, left_out=(*asked.left_out, *repeats))


async def _asked(speaker: Speaker, within_s: float, ended: asyncio.Future[Ended]) -> Asked:
    offer = await speaker.begin(within_s)
    methods: list[str] = []
    for request in (each for each in _LISTS if each in offer.methods):
        methods += _WITH[request] if await _gives(speaker, request, within_s) else ()
    return Asked(
        says=f"{offer.server} {offer.version}".strip(), protocol=offer.protocol, definitions=offer.definitions,
        methods=tuple(dict.fromkeys(each for each in methods if each in offer.methods)), left_out=offer.left_out,
    )  # fmt: skip


async def _gives(speaker: Speaker, request: str, within_s: float) -> bool:
    """Whether a list has anything in it: many servers offer lists of nothing."""
    import msgspec

    try:
        answer = await asyncio.wait_for(asyncio.shield(speaker.ask(-1, request, b"{}", None)), within_s)
        found: Any = None if answer.error else msgspec.json.decode(answer.raw)
    except (TimeoutError, FailwellError, msgspec.MsgspecError):
        return False
    return isinstance(found, dict) and bool(found.get(_LISTS[request]))


async def _why(error: FailwellError, ended: asyncio.Future[Ended]) -> str:
    """Why it gave nothing: its last word, where it ended by itself."""
    await asyncio.wait({ended}, timeout=0.5)
    if not ended.done() or ended.result().state.startswith("interrupted"):
        return error.message
    lines = ended.result().errors.decode("utf-8", "replace").strip().splitlines()
    code = ended.result().exit_code
    said = f": {lines[-1][:200]}" if lines else ""
    return f"it ended with {ended.result().signal if code is None else code}{said}"


def _set(future: asyncio.Future[Ended], end: Ended) -> None:
    if not future.done():
        future.set_result(end)
