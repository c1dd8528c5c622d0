"""The demonstration's stage: directories, people, and the processes that play in it, each ended by its own pid.

    DIRECTORY/workspace   the ledger and what belongs to it; kept
    DIRECTORY/config      throw-away keys of people and agent; passphrases exist in memory only
    DIRECTORY/shop        the shop's database and the agent's log
    DIRECTORY/mail        the mail server's logs, and the owner's mail

Everything goes through the product's own doors: signed orders, the node's socket, an agent with a key.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from failwell.client.powers import Hand
from failwell.client.wire import Wire, reach
from failwell.core import contract as contracts
from failwell.core import orders as o
from failwell.core.errors import Unhealthy, Unreachable
from failwell.drills.demo import shop, story
from failwell.identity import agents
from failwell.identity.persons import PersonKey, Signer, prove_enrolment
from failwell.node.beginning import begin
from failwell.node.workspace import Workspace

START_S = 20.0
END_S = 15.0
LOOK_EVERY_S = 0.05
#: Code of the error that says which part of the story did not come about.
BROKEN_OFF = "story"

T = TypeVar("T")


class Stage:
    """A running demonstration. Use it in `with`: whatever happens, nothing that it started goes on running."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.workspace = Workspace(directory / "workspace")
        self.shop = directory / "shop"
        self.mail = directory / "mail"
        self._config = directory / "config"
        self._left = contextlib.ExitStack()
        self._runtime: Path | None = None
        self.wire: Wire

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- setting up --------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Shop, mail server, workspace, two people, one agent with a key, one contract signed by both; node started."""
        for each in (self.shop, self.mail, self._config):
            each.mkdir(mode=0o700)
        mailserver = self._start_mailserver()
        owner, approver = (self._person(name) for name in (story.OWNER, story.APPROVER))
        port = self._port_of(mailserver)
        shop.open_shop(self.shop, port)
        begun = begin(
            self.workspace, owner, email=story.OWNER_MAIL, roles=("operator",),
            settings_toml=story.settings_text(port), guard_place=self.directory / "guard",
        )  # fmt: skip
        self._start_node()
        hand = Hand(self.wire, owner)
        public = base64.b64encode(approver.key.public).decode()
        proof = prove_enrolment(approver, begun.origin)
        hand.enrol(approver, public, proof, ("approver",), story.APPROVER_MAIL)
        Hand(self.wire, approver).verify_contact(story.OWNER, None)  # a mailed code would be read by hand
        key = agents.create_agent_key(self._config, begun.origin, story.AGENT)
        details = o.AgentRegister(agent=story.AGENT, key=base64.b64encode(key.public).decode(), owner=story.OWNER)
        hand.give("agent.register", details)
        contract = contracts.load(story.CONTRACT, name="contract.yaml")
        Hand(self.wire, approver).adopt_contract(contract, hand.sign_contract(contract))

    def _person(self, name: str) -> Signer:
        passphrase = secrets.token_urlsafe(18)
        return PersonKey.create(self._config, name, passphrase).unlock(passphrase)

    def _start_mailserver(self) -> subprocess.Popen[bytes]:
        log = self._left.enter_context((self.mail / "server.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "failwell.drills.demo.mailserver", str(self.mail)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
        self._left.callback(_end, process, "the mail server")
        return process

    def _port_of(self, process: subprocess.Popen[bytes]) -> int:
        line = _first_line(process, START_S)
        if not line:
            said = (self.mail / "server.log").read_text(errors="replace").strip().splitlines()
            raise Unhealthy(
                f"the mail server did not start: {said[-1] if said else 'no answer'}",
                hint="It needs aiosmtpd: pip install 'failwell[demo]'",
            )
        return int(json.loads(line)["port"])

    def _start_node(self) -> None:
        self._runtime = self.workspace.runtime
        self._left.callback(shutil.rmtree, self._runtime, ignore_errors=True)
        log = self._left.enter_context((self.directory / "node.log").open("wb"))
        node = subprocess.Popen(
            [sys.executable, "-m", "failwell.node", "--workspace", str(self.workspace.path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
        self._left.callback(_end, node, "the node")
        if _first_line(node, START_S) != b"ready\n":
            said = (self.directory / "node.log").read_text(errors="replace").strip()
            raise Unreachable(f"the node did not start: {said[-500:] or 'no answer'}")
        self.wire = reach(self.workspace.socket, self.workspace.path, start=False)
        self._left.callback(self.wire.close)

    # -- playing -----------------------------------------------------------------------------------------------

    def start_agent(self) -> subprocess.Popen[bytes]:
        """A fresh process of the agent; it ends by itself when it has given up."""
        log = self._left.enter_context((self.shop / "agent.log").open("ab"))
        own = {"FAILWELL_CONFIG": str(self._config), "FAILWELL_WORKSPACE": str(self.workspace.path)}
        process = subprocess.Popen(
            [sys.executable, "-m", "failwell.cli.demo_agent"], cwd=self.shop, env={**os.environ, **own},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        self._left.callback(_end, process, "the agent")
        return process

    def ask(self, about: str, key: Any = None) -> Any:
        """A question to the node."""
        return self.wire.call("ask", about=about, key=key, timeout_s=START_S)

    def agent_said(self) -> str:
        """The last line of the agent's own log."""
        lines = (self.shop / "agent.log").read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "nothing"

    def owner_mail(self) -> list[bytes]:
        """The mails that the mail server holds for the owner."""
        return [path.read_bytes() for path in sorted(self.mail.glob("kept-*.eml"))]

    def close(self) -> None:
        """The end: agent, node and mail server are stopped and waited for, the ledger is closed."""
        with _undisturbed():
            self._left.close()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave half of it running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_line(process: subprocess.Popen[bytes], within_s: float) -> bytes:
    """The first line that a process prints, empty when it ended or says nothing in time."""
    if process.stdout is None:
        return b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(within_s) else b""


def _end(process: subprocess.Popen[bytes], what: str) -> None:
    """End a process that was started here, by its own pid: politely first, then not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Unhealthy(f"{what} did not end within {END_S:.0f} s and was killed") from None
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def has_ended(process: subprocess.Popen[bytes]) -> Callable[[], bool]:
    """A question to `wait_for`: whether a process has ended."""
    return lambda: process.poll() is not None


def wait_for(what: str, seen: Callable[[], T], *, within_s: float) -> T:
    """The first answer of `seen()` that is true; raises Unhealthy (code BROKEN_OFF) where none comes in time."""
    deadline = time.monotonic() + within_s
    while not (answer := seen()):
        if time.monotonic() > deadline:
            raise Unhealthy(f"{what}: not within {within_s:.0f} s", code=BROKEN_OFF)
        time.sleep(LOOK_EVERY_S)
    return answer
