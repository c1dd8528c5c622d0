"""One ledger in memory's reach: real book, SQLite file, vault, gate, reactions and signatures; only the clock is ours.

No writer's thread: a job runs and commits when a test says so, or shares its commit with others (`batch`), so that
what a test shows does not hang on timing. Where threads are the point, tests take `house.writer()`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from failwell.core import contract as contracts
from failwell.core import kinds, note, orders, rows
from failwell.core.errors import FailwellError
from failwell.core.instants import format_at
from failwell.core.react import react
from failwell.core.records import Draft, Entry, decode_entry
from failwell.core.sight import sight_digest
from failwell.core.state import State
from failwell.gate import outcomes, registry, runs
from failwell.gate.verdicts import Gate, Proposal, Unanswered, Verdict
from failwell.guard.sealing import LocalGuard
from failwell.identity import keys, persons
from failwell.ledger.book import Book, React
from failwell.ledger.jobs import Job, Plan
from failwell.ledger.vault import Vault
from failwell.ledger.writer import Writer
from failwell.node.assembly import genesis_drafts, sealed_writer
from failwell.ports.executor import Ended
from failwell.response import containment, releases
from failwell.response import orders as response
from failwell.storage import sqlite
from failwell.storage.sqlite import SqliteStorage

T = TypeVar("T")
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
START_US = 1_795_000_000_000_000
ORIGIN = "failwell.test/house"
AGENT = "spiffe://shop.example/agent/refund-bot"
OTHER = "spiffe://shop.example/agent/other-bot"

TOOLS = """
  - {tool: orders.read, effect: read, custody: none, arguments: {order_id: "string(1..40)"}}
  - tool: payments.refund
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 10s
    arguments: {customer_id: "string(1..200)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
    affects: {customer: customer_id, resource: order_id, amount: amount}
    public: [amount]
"""

#: A clause of each severity, one that escalates, and both kinds of limit.
RULES = """
clauses:
  - {id: small, deny: payments.refund, when: context.args.amount == 100, severity: minor}
  - {id: big, deny: payments.refund, when: context.args.amount == 200, severity: major}
  - {id: fatal, deny: payments.refund, when: context.args.amount == 300, severity: critical}
  - {id: ask, escalate: payments.refund, when: context.args.amount == 400, severity: minor}
limits:
  - {id: per-hour, count: payments.refund, at_most: 6, per: 1h, then: deny, severity: minor}
  - {id: repeat, once_per: payments.refund, keys: [order_id], then: record, severity: minor}
"""

#: What each clause of RULES is set off by.
SMALL, BIG, FATAL, ASK, FINE = "1.00", "2.00", "3.00", "4.00", "5.00"


def contract_text(rules: str = RULES, *, tools: str = TOOLS, version: int = 1, agent: str = AGENT) -> str:
    name = agent.rpartition("/")[2]
    return (
        f"contract: {name}\nversion: {version}\nagent: {agent}\nowner: olga\n"
        f"purpose: Refund customers of the shop.\ntools:{tools}{rules}"
    )


class HandClock:
    """`ports.clock.Clock` that stands where it was set."""

    def __init__(self) -> None:
        self.boot_id = "a" * 32
        self.mono = 5 * SECOND_US
        self.wall = START_US

    def boot(self) -> str:
        return self.boot_id

    def mono_us(self) -> int:
        return self.mono

    def wall_us(self) -> int:
        return self.wall

    def skip(self, us: int) -> None:
        self.mono += us
        self.wall += us

    def reboot(self, wall_step_us: int) -> None:
        """Another boot: the boot clock begins anew, the wall clock stands `wall_step_us` further (or back)."""
        self.boot_id = f"{int(self.boot_id, 16) + 1:032x}"
        self.mono = SECOND_US
        self.wall += wall_step_us


class House:
    """A ledger file, open. `reopen` is what a restart of the node is to it.

    The file lies in memory where the machine has such a place, and goes with the house: what a disk does to a ledger
    is shown elsewhere.
    """

    def __init__(self, *, mode: str = "live", reactions: React = react) -> None:
        folder = tempfile.mkdtemp(prefix="failwell-house-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        weakref.finalize(self, shutil.rmtree, folder)
        self.path = Path(folder) / "ledger.db"
        self.clock = HandClock()
        self.reactions = reactions
        self.log = keys.from_seed(b"l" * 32)
        self.gate = Gate("test/1")
        self.calls = 0
        self.nonces = 0
        self.signers = {
            name: persons.Signer(name, keys.from_seed(bytes([number]) * 32))
            for number, name in enumerate(("olga", "piet", "quan", "rita", "sara"), 1)
        }
        sqlite.create(self.path)
        self.book = self._book()
        self.write(*genesis_drafts(self.book, note.VerifierKey(ORIGIN, self.log.public).text(), mode))

    def _book(self) -> Book:
        vault = Vault(b"b" * 32, b"t" * 32, ORIGIN, secrets.token_bytes)
        return Book(SqliteStorage(self.path), vault, self.clock, ORIGIN, self.reactions)

    def writer(self, *, paused: bool = False) -> Writer:
        """A writer's thread on this book, with a guard of its own; closing it closes the house."""
        directory = self.path.with_name("guard")
        guard = LocalGuard.open(directory) if directory.exists() else LocalGuard.create(directory, ORIGIN)
        return sealed_writer(self.book, guard, paused=paused)

    @property
    def state(self) -> State:
        return self.book.state

    @property
    def storage(self) -> SqliteStorage:
        assert isinstance(self.book.storage, SqliteStorage)
        return self.book.storage

    def close(self) -> None:
        self.storage.close()

    def reopen(self) -> None:
        """Close and open the file again; a `clock` entry comes first when the machine was started again."""
        self.close()
        self.book = self._book()
        draft = self.book.clock_draft()
        if draft is not None:
            self.write(draft)

    # -- writing -----------------------------------------------------------------------------------------------

    def stage(self, job: Job[T]) -> tuple[Any, tuple[Entry[Any], ...]]:
        """Run a job into the open batch. A torn batch is dropped, as the writer does."""
        try:
            return self.book.run(job, lambda entry: None)
        except FailwellError:
            if self.book.torn:
                self.book.recover()
            raise

    def do(self, job: Job[T]) -> T:
        """Run one job and commit it."""
        make, entries = self.stage(job)
        self.book.commit()
        answer: T = make(entries)
        return answer

    def batch(self, *jobs: Job[Any]) -> list[Any]:
        """Run jobs into one commit; their answers."""
        staged = [self.stage(job) for job in jobs]
        self.book.commit()
        return [make(entries) for make, entries in staged]

    def write(self, *drafts: Draft) -> list[int]:
        seqs: list[int] = self.do(lambda turn: Plan(drafts, lambda entries: [entry.seq for entry in entries]))
        return seqs

    # -- reading -----------------------------------------------------------------------------------------------

    def entries(self, first: int = 0) -> list[Entry[Any]]:
        return [decode_entry(row.data) for row in self.storage.entries(first, 1_000_000)]

    def bodies(self, kind: type[T], first: int = 0) -> list[T]:
        return [entry.body for entry in self.entries(first) if isinstance(entry.body, kind)]

    def newest(self, kind: type[Any]) -> int:
        """The entry number of the newest entry of a kind."""
        return max(entry.seq for entry in self.entries() if isinstance(entry.body, kind))

    def secret(self, seq: int) -> dict[str, Any]:
        blob = self.storage.blob(seq)
        assert blob is not None
        return self.book.vault.open(blob)

    def stored(self) -> dict[str, dict[Any, str]]:
        """All projection rows as the file has them."""
        return {table: dict(self.storage.rows(table)) for table in rows.TABLES}

    def agent(self, name: str = AGENT) -> rows.Agent:
        return self.state.agent[name]

    # -- people ------------------------------------------------------------------------------------------------

    def sign(self, person: str, kind: str, details: orders.Details, shown: str | None = None) -> orders.SignedOrder:
        """An order of `person` over what the ledger shows for it now."""
        self.nonces += 1
        order = orders.Order(
            order=kind, origin=ORIGIN, person=person, nonce=f"{self.nonces:032x}",
            at=format_at(self.state.last_at_us),
            shown=sight_digest(self.state, kind, details) if shown is None else shown, details=details,
        )  # fmt: skip
        return persons.sign_order(self.signers[person], order)

    def enrol(self, person: str, *roles: str, key_of: str | None = None, email: str | None = None) -> None:
        public = base64.b64encode(self.signers[key_of or person].key.public).decode()
        body = kinds.PersonEnrolled(person=person, key=public, roles=roles)
        secret = None if email is None else {"email": email, "salt": ""}
        self.write(Draft(body=body, actor="person:olga", secret=secret))

    def reached(self, person: str) -> None:
        """Written down as reached at their address: what only owners need."""
        body = kinds.ContactVerified(person=person, contact="ab" * 32, how="vouched", by="rita")
        self.write(Draft(body=body, actor="person:rita"))

    def people(self) -> None:
        """An owner who operates, and three who approve."""
        self.enrol("olga", "operator", email="olga.owner@shop.example")
        for person in ("piet", "quan", "rita"):
            self.enrol(person, "approver")
        self.reached("olga")

    def register(self, agent: str = AGENT, groups: tuple[str, ...] = ()) -> None:
        key = base64.b64encode(keys.from_seed(b"a" * 32).public).decode()
        name = agent.rpartition("/")[2]
        registered = kinds.AgentRegistered2(name=name, owner="olga", groups=groups, detect_only=False)
        bodies = registered, kinds.AgentKey(key=key, status="active")
        self.write(*(Draft(body=body, actor="person:olga", agent=agent) for body in bodies))

    def adopt(self, text: str, owner: str = "olga", approver: str = "piet") -> None:
        """Owner signs, approver adopts."""
        self.do(self.adoption(text, owner, approver))

    def adoption(self, text: str, owner: str = "olga", approver: str = "piet") -> Job[Any]:
        """The job of both."""
        loaded = contracts.load(text, name="contract.yaml")
        named: dict[str, Any] = {
            "contract": loaded.contract, "version": loaded.version, "digest": contracts.digest(loaded),
        }  # fmt: skip
        signed = self.sign(owner, "contract.sign", orders.ContractSign(**named))
        first = orders.order_digest(orders.parse_order(signed.order))
        second = self.sign(approver, "contract.adopt", orders.ContractAdopt(**named, signed=first))
        document = contracts.to_canonical(loaded)
        return registry.adopt_contract(signed, second, document, persons.verify_order, "test/1")

    def adopt_backtest(self, text: str) -> None:
        """Without anybody's signature: only a backtest ledger takes that."""
        document = contracts.to_canonical(contracts.load(text, name="contract.yaml"))
        self.do(registry.adopt_for_backtest(document, "test/1"))

    def suspend_order(self, person: str, agent: str = AGENT) -> Job[int]:
        details = orders.AgentSuspend(agent=agent, reason="it looks wrong")
        signed = self.sign(person, "agent.suspend", details, shown="0" * 64)
        return response.suspend(signed, persons.verify_order, source="node")

    def suspend(self, person: str, agent: str = AGENT) -> int:
        return self.do(self.suspend_order(person, agent))

    def acknowledge(self, person: str, incident: int = 1) -> int:
        signed = self.sign(person, "incident.acknowledge", orders.IncidentAcknowledge(incident=incident))
        return self.do(response.acknowledge(signed, persons.verify_order))

    def accept_page(self, page: int = 1) -> int:
        body = kinds.PageAttempted(page=page, attempt=1, accepted=True, detail="250", checkpoint=1, next_due_us=None)
        return self.write(Draft(body=body, actor="node", agent=AGENT))[0]

    def propose(self, person: str, incident: int = 1, evidence: tuple[int, ...] = (3,), **more: Any) -> str:
        """Propose a release; the proposal's digest."""
        details = orders.ReleasePropose(
            incident=incident, agent=more.get("agent", AGENT), authority=more.get("authority", "PROBATION"),
            conditions="the template is fixed", evidence=evidence, probation_minutes=more.get("minutes", 0),
        )  # fmt: skip
        signed = self.sign(person, "release.propose", details)
        self.do(releases.propose_release(signed, persons.verify_order, more.get("user")))
        return orders.order_digest(orders.parse_order(signed.order))

    def approve(self, person: str, proposal: str, incident: int = 1, user: str | None = None) -> int:
        details = orders.ReleaseApprove(incident=incident, agent=AGENT, proposal=proposal)
        signed = self.sign(person, "release.approve", details)
        return self.do(releases.approve_release(signed, persons.verify_order, user))

    def release(self, incident: int = 1) -> None:
        """Everything that gives the agent back after `incident`."""
        for action in self.state.incident[incident].waiting:
            self.stop(action)
        for number, page in list(self.state.page.items()):
            if page.incident == incident:
                self.accept_page(number)
        self.acknowledge("olga", incident)
        self.approve("piet", self.propose("olga", incident), incident)

    # -- agents ------------------------------------------------------------------------------------------------

    def run(self, agent: str = AGENT, **given: Any) -> int:
        asked: dict[str, Any] = {"principal": None, "request": None, "host": None, **given}
        return self.do(runs.open_run(agent, **asked))

    def proposal(
        self, run: int | None, amount: str = FINE, *, order: str | None = None, call: str | None = None, **more: Any
    ) -> Proposal:  # fmt: skip
        """A refund nobody asked for before, unless `order` or `call` is given."""
        self.calls += 1
        arguments = {
            "customer_id": more.pop("customer", f"c-{self.calls}"), "order_id": order or f"o-{self.calls}",
            "amount": amount,
        }  # fmt: skip
        given: dict[str, Any] = {
            "agent": AGENT, "run": run, "call": call or f"call-{self.calls}", "tool": "payments.refund",
            "arguments": json.dumps(arguments).encode(), "reason": None, **more,
        }  # fmt: skip
        return Proposal(**given)

    def ask(self, run: int | None, amount: str = FINE, **more: Any) -> Verdict:
        return self.decide(self.proposal(run, amount, **more))

    def decide(self, proposal: Proposal) -> Verdict:
        return decided(self.do(self.gate.decide(proposal)))

    def settle(self, decision: int, state: str = "completed", **more: Any) -> int:
        by = more.pop("by", "supervisor")
        return self.do(outcomes.settle(outcomes.Settlement(decision=decision, state=state, by=by, **more)))

    def stop(self, action: int, state: Any = "interrupted_confirmed", *, after_us: int = 300_000) -> None:
        """What a supervisor reports of an interrupted action whose last process went `after_us` from now."""
        ended = Ended(
            action=action, state=state, exit_code=None, signal=9, output=b"", truncated=False, errors=b"",
            started_us=0, ended_us=self.clock.mono + after_us, swept=3, proven_by="swept", why=None, sweep_us=900,
        )  # fmt: skip
        settlement = outcomes.Settlement(decision=action, state=state, by="supervisor")
        job = containment.ended_by_order(ended, "order", lambda turn: outcomes.draft_outcome(turn, settlement))
        self.do(job)


def decided(answer: Verdict | Unanswered) -> Verdict:
    """A verdict, under a contract that asks no trusted source: there is none here."""
    assert isinstance(answer, Verdict)
    return answer


def open_house(rules: str = RULES, *, tools: str = TOOLS) -> House:
    """A house with people, one agent and its contract in force."""
    house = House()
    house.people()
    house.register()
    house.adopt(contract_text(rules, tools=tools))
    return house


def folded(entries: Iterable[tuple[Entry[Any], str]]) -> tuple[State, dict[str, dict[Any, str]]]:
    """The state and all rows that the entries alone give."""
    state = State()
    made: dict[str, dict[Any, str]] = {table: {} for table in rows.TABLES}
    for entry, leaf in entries:
        state.apply(entry, leaf)
        for (table, key), row in state.drain().items():
            made[table][key] = rows.encode_row(row)
    return state, made
