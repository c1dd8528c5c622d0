"""Containment beside faulty ways to people: a mail server that mumbles, receivers that drip, hang, refuse, are gone.

Two nodes on one machine, with the same path and as many pages: one whose ways all take what they are given, one whose
ways are all faulty. An agent of each is suspended in turn, each with a small family running, and it is timed from
before the order's bytes are sent until the kernel says that the last process is gone (`bench.stopping`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import probe
from bench.family import Watched, command
from bench.orders import prepare
from bench.stopping import _Caller
from failwell.client.powers import as_fields, make_order
from failwell.client.wire import Wire, reach
from failwell.core import kinds, orders
from failwell.identity.persons import sign_order
from failwell.node.audit import tail
from failwell.node.settings import DEFAULT_TEXT
from failwell.node.workspace import Workspace
from tests.receivers import drip, fine, hang, mumbling, receiving, status

STOPS = 60
MORE = 0.10
#: An attempt under way ends by its own deadline; the node waits for it.
END_S = 45.0
_SETTINGS = """
[mail]
host = "127.0.0.1"
port = {mail}
sender = "failwell@bench.example"
security = "none"
{channels}
[escalation]
[[escalation.steps]]
notify = "owner"
by = ["email", {names}]
ack_within_s = 900
"""
_CHANNEL = """
[channels.{name}]
kind = "webhook"
url = "http://127.0.0.1:{port}/"
allow_private = ["127.0.0.0/8"]
"""


class House(NamedTuple):
    """A node with its agents, and where its keys are."""

    workspace: Workspace
    names: list[str]
    signer: Any
    wire: Wire
    config: Path


def contained() -> dict[str, Any]:
    """p50 of containment with faulty ways at most 10 % above that with ways that work."""
    with contextlib.ExitStack() as left:
        quick = left.enter_context(_house(_working(left)))
        slow = left.enter_context(_house(_faulty(left)))
        took: dict[str, list[float]] = {"working": [], "faulty": []}
        ratios = []
        for number in range(STOPS):
            pair = {"working": quick, "faulty": slow}
            names = ("working", "faulty") if number % 2 else ("faulty", "working")
            once = {name: _stop(pair[name], number) for name in names}
            for name, ms in once.items():
                took[name].append(ms)
            ratios.append(once["faulty"] / once["working"])
        accepted = {"working": _pages(quick), "faulty": _pages(slow)}
    p50 = {name: probe.quantile(sorted(each), 0.5) for name, each in took.items()}
    allowed = p50["working"] * (1 + MORE)
    return {
        "working_p50_ms": p50["working"], "faulty_p50_ms": p50["faulty"], "paired_ratio": statistics.median(ratios),
        "working_max_ms": max(took["working"]), "faulty_max_ms": max(took["faulty"]), "allowed_ms": allowed,
        "stops": STOPS, "accepted_working": accepted["working"][0], "accepted_faulty": accepted["faulty"][0],
        "failed_faulty": accepted["faulty"][1],
        "held": p50["faulty"] <= allowed and accepted["working"][0] > STOPS and not accepted["faulty"][0],
    }  # fmt: skip


def _working(left: contextlib.ExitStack) -> str:
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Sink

    mail = Controller(Sink(), hostname="127.0.0.1", port=_free())
    mail.start()
    left.callback(mail.stop)
    ports = {name: left.enter_context(receiving(fine)).port for name in ("a", "b", "c", "d")}
    return _settings(mail.port, ports)


def _faulty(left: contextlib.ExitStack) -> str:
    behaves = {"dripping": drip(), "hanging": hang, "broken": status(500)}
    ports = {name: left.enter_context(receiving(behave)).port for name, behave in behaves.items()}
    gone = left.enter_context(socket.socket())
    gone.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
    return _settings(left.enter_context(mumbling()), {**ports, "gone": int(gone.getsockname()[1])})


def _settings(mail: int, ports: dict[str, int]) -> str:
    channels = "".join(_CHANNEL.format(name=name, port=port) for name, port in ports.items())
    names = ", ".join(f'"{name}"' for name in ports)
    return DEFAULT_TEXT + _SETTINGS.format(mail=mail, channels=channels, names=names)


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _house(settings: str) -> Iterator[House]:
    root = Path(tempfile.mkdtemp(prefix="failwell-bench-"))
    os.environ["FAILWELL_CONFIG"] = str(root / "config")
    wire = None
    try:
        workspace, names, signer = prepare(root, STOPS, settings=settings)
        wire = reach(workspace.socket, workspace.path)
        yield House(workspace, names, signer, wire, root / "config")
    finally:
        if wire is not None:
            os.kill(wire.greeting["pid"], signal.SIGTERM)
            wire.close()
            _await_end(wire.greeting["pid"])
        shutil.rmtree(root, ignore_errors=True)


def _await_end(pid: int) -> None:
    until = time.monotonic() + END_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(0.2)


def _stop(house: House, number: int) -> float:
    """Milliseconds from an order to the last process of the agent's family."""
    os.environ["FAILWELL_CONFIG"] = str(house.config)
    name = house.names[number]
    folder = house.workspace.path.parent / f"family-{number}"
    folder.mkdir()
    caller = _Caller(house.workspace, name)
    caller.act(number, command(folder, 60))
    watched = Watched(folder)
    details = orders.AgentSuspend(agent=name, reason="measured")
    order = make_order("agent.suspend", house.workspace.origin(), house.signer.person, "0" * 64, details)
    signed = as_fields(sign_order(house.signer, order))
    began = time.perf_counter()
    answer = house.wire.ask("order", orders=[signed])
    gone = watched.await_gone()
    assert gone is not None, f"something of it runs on: {watched.left()}"
    answer.result(10)
    watched.close()
    caller.close()
    return (gone - began) * 1000


def _pages(house: House) -> tuple[int, int]:
    """How many pages were taken over, and how many attempts failed."""
    found = [each.entry.body for each in tail(house.workspace.path, 1_000_000) if each.entry is not None]
    tried = [body for body in found if isinstance(body, kinds.PageAttempted)]
    return sum(body.accepted for body in tried), sum(not body.accepted for body in tried)
