"""Real ledgers for tests: workspace, SQLite, vault, writer, gate and reactions as the node wires them; own clock.

Only the clock is the tests' own: it goes on by itself, a step for each question.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from failwell.core import canonical, contract, kinds, orders
from failwell.core.instants import format_at
from failwell.core.react import RULES
from failwell.core.records import Draft, decode_entry
from failwell.core.sight import sight_digest
from failwell.gate import floors, outcomes, people, registry, runs
from failwell.gate.custody import Probe, record_probes
from failwell.gate.ensured import Seen, end_check
from failwell.gate.verdicts import Gate, Proposal, Verdict
from failwell.guard.sealing import LocalGuard
from failwell.identity import keys, names, persons
from failwell.ledger.book import Book
from failwell.ledger.jobs import Plan, Turn
from failwell.ledger.vault import commitment
from failwell.ledger.writer import Writer
from failwell.node import assembly
from failwell.node.workspace import LedgerKeys, Workspace
from failwell.ports.executor import Ended
from failwell.response import clocks, containment, customers, digests, legal_periods, proofs, releases, teams
from failwell.response import orders as response
from failwell.response.compensation import order_undoing
from failwell.response.said import Said
from failwell.response.stops import stop_scope

AGENT = "spiffe://shop.example/agent/refund-bot"
START_US = 1_795_000_000_000_000
SALT = b"salt of an address"

#: Who is on call, by what people are told, and when of early indicators.
SETTINGS: dict[str, Any] = {
    "mail": "none", "escalation": {"digest": "11:07"}, "channels": [["pager", {"kind": "pagerduty"}]],
    "teams": [["night", {"turns": [{"members": ["olga", "piet"]}]}]],
}  # fmt: skip

CONTRACT = """
contract: refund-bot
version: 1
agent: spiffe://shop.example/agent/refund-bot
owner: olga
purpose: Refund customers of the shop.
tools:
  - tool: orders.read
    effect: read
    custody: broker
    deadline: 10s
    arguments: {order_id: "string(1..40)"}
    ensure: {logged: {lookup: orders.logged, with: [order_id], type: bool, is: true, within: 30s, severity: minor}}
  - tool: payments.refund
    effect: irreversible
    executor: supervised
    custody: broker
    deadline: 10s
    arguments: {customer_id: "string(1..40)", order_id: "string(1..40)", amount: "money(2, 0..10000)"}
    affects: {customer: customer_id, resource: order_id, amount: amount}
    public: [amount]
clauses:
  - {id: refund-ceiling, deny: payments.refund, when: context.args.amount > 20000, severity: minor}
  - {id: large, escalate: payments.refund, when: context.args.amount > 10000}
limits:
  - {id: refunds, count: payments.refund, at_most: 6, per: 1h, then: deny, severity: major}
  - {id: once, once_per: payments.refund, keys: [order_id], then: record, severity: minor}
response:
  - {signal: "recorded(once) >= 3 in 1h", do: [interrupt, suspend, hold, notify]}
escalation:
  - {notify: owner, by: [email]}
"""


#: A tool whose work can be undone.
UNDONE = """
  - tool: notes.send
    effect: reversible
    custody: broker
    deadline: 10s
    arguments: {customer_id: "string(1..40)"}
    compensate: notes.retract
clauses:
"""

FLOOR = """
floor: house-rules
version: 1
scope: organisation
purpose: What no agent of this shop may do.
never: [orders.delete]
clauses:
  - {id: ceiling, deny: "payments.*", when: context.args.amount > 900000, severity: major}
stoppable: true
"""


class StepClock:
    """`ports.clock.Clock` that moves on by a thousandth of a second with each look."""

    def __init__(self, boot: str = "a" * 32, mono_us: int = 5_000_000, wall_us: int = START_US) -> None:
        self._boot = boot
        self._mono_us = mono_us
        self._wall_us = wall_us

    def boot(self) -> str:
        return self._boot

    def mono_us(self) -> int:
        self._mono_us += 1000
        return self._mono_us

    def wall_us(self) -> int:
        return self._wall_us

    def skip(self, us: int) -> None:
        self._mono_us += us


def _now(turn: Turn) -> Plan[int]:
    now_us = turn.now_us
    return Plan((), lambda _: now_us)


class Made:
    """One ledger being written: its workspace, writer, gate, and the persons who sign."""

    def __init__(self, path: Path, clock: StepClock, writer: Writer, secrets: LedgerKeys) -> None:
        self.path = path
        self.workspace = Workspace(path)
        self.clock = clock
        self.writer = writer
        self.keys = secrets
        self.gate = Gate("test/1")
        self.signers = {
            name: persons.Signer(name, keys.from_seed(bytes([number]) * 32))
            for number, name in enumerate(("olga", "piet", "quan"), 1)
        }
        self._nonce = writer.book.state.size * 1000

    @property
    def book(self) -> Book:
        return self.writer.book

    @property
    def origin(self) -> str:
        return self.workspace.origin()

    def guard(self) -> LocalGuard:
        """The guard of this ledger, once its writer is closed."""
        return LocalGuard.open(Path(self.workspace.guard_place()))

    def sealed(self) -> bytes:
        """The newest checkpoint, once everything written so far is sealed and the seal is stored."""
        sealed = self.writer.seals.wait(self.book.state.size).result(10)
        self.writer.submit(lambda turn: Plan((), lambda entries: None)).result(10)
        assert self.book.storage.checkpoint() == sealed.note
        return sealed.note

    def do(self, job: Any, lane: int = 1) -> Any:
        """Run one job and wait for its answer."""
        return self.writer.submit(job, lane).result(30)

    def write(self, *drafts: Draft) -> list[int]:
        """Write drafts in one job; their numbers."""
        seqs: list[int] = self.do(lambda turn: Plan(drafts, lambda entries: [entry.seq for entry in entries]))
        return seqs

    def sign(self, person: str, kind: str, details: orders.Details, shown: str | None = None) -> orders.SignedOrder:
        """A signed order of `person`, over what the ledger shows for it now."""
        self._nonce += 1
        now_us = self.do(_now)
        seen = sight_digest(self.book.state, kind, details) if shown is None else shown
        order = orders.Order(
            order=kind, origin=self.origin, person=person, nonce=f"{self._nonce:032x}", at=format_at(now_us),
            shown=seen, details=details,
        )  # fmt: skip
        return persons.sign_order(self.signers[person], order)

    def public(self, person: str) -> str:
        return base64.b64encode(self.signers[person].key.public).decode()

    def run(self, principal: str = "customer:8841") -> int:
        opened: int = self.do(runs.open_run(AGENT, principal=principal, request="refund please", host=None))
        return opened

    def ask(self, run: int | None, call: str, tool: str, arguments: Any, agent: str = AGENT) -> Verdict:
        """Propose one action."""
        text = arguments if isinstance(arguments, bytes) else json.dumps(arguments).encode()
        proposal = Proposal(agent=agent, run=run, call=call, tool=tool, arguments=text, reason="as asked")
        verdict: Verdict = self.do(self.gate.decide(proposal))
        return verdict

    def refund(self, run: int, call: str, order: str, amount: str = "10.00") -> Verdict:
        return self.ask(
            run, call, "payments.refund", {"customer_id": f"c-{order}", "order_id": order, "amount": amount}
        )

    def settle(self, verdict: Verdict, state: str = "completed") -> int:
        settled: int = self.do(
            outcomes.settle(
                outcomes.Settlement(
                    decision=verdict.entry,
                    state=state,
                    by="supervisor",
                    exit_code=0,
                    result=b'{"ok":true}',
                    elapsed_us=1200,
                )
            )
        )
        return settled


@contextmanager
def fresh(path: Path, mode: str = "live", clock: StepClock | None = None) -> Iterator[Made]:
    """A new workspace with its genesis and first clock entry; closed (and the log truncated) at the end."""
    clock = clock or StepClock()
    workspace = Workspace(path)
    book, guard = assembly.create_book(workspace, clock, path.with_name(f"{path.name}.guard"))
    writer = assembly.sealed_writer(book, guard)
    made = Made(path, clock, writer, workspace.open_keys())
    try:
        made.write(*assembly.genesis_drafts(book, guard.key, mode))
        made.sealed()
        yield made
    finally:
        writer.close()


@contextmanager
def reopened(path: Path, clock: StepClock) -> Iterator[Made]:
    """An existing workspace, opened as a node opens it."""
    workspace = Workspace(path)
    secrets = workspace.open_keys()
    book = assembly.open_book(workspace, secrets, clock)
    first = book.clock_draft()
    writer = assembly.sealed_writer(book, LocalGuard.open(Path(workspace.guard_place())))
    made = Made(path, clock, writer, secrets)
    try:
        if first is not None:
            made.write(first)
        yield made
    finally:
        writer.close()


def begin(made: Made) -> None:
    """The first person's order and enrolment, settings, a second person, an agent and its adopted contract."""
    text = canonical.encode(SETTINGS).decode()
    details = orders.Init(
        key=made.public("olga"), roles=("operator",), contact=contact("olga"), settings=commitment(b"", text.encode())
    )
    signed = made.sign("olga", "init", details, shown="0" * 64)
    order = kinds.Order(
        order="init", person="olga", key=signed.key, text=signed.order, signature=signed.signature, source="init"
    )
    made.write(
        Draft(body=order, actor="person:olga"),
        Draft(body=kinds.Config(digest=details.settings, text=text), actor="person:olga", refs=(2,)),
        Draft(
            body=kinds.PersonEnrolled(person="olga", key=details.key, roles=details.roles), actor="person:olga",
            refs=(2,),
            secret=registry.Contact("olga@shop.example", SALT).secret(),
        ),
    )  # fmt: skip
    _enrol(made, "piet", ("approver", "operator"))
    _enrol(made, "quan", ("reviewer",))
    vouch(made, "piet", "olga")
    put_floor(made, FLOOR)
    register = orders.AgentRegister(
        agent=AGENT, key=base64.b64encode(keys.from_seed(b"a" * 32).public).decode(), owner="olga"
    )
    registered = made.sign("olga", "agent.register", register)
    made.do(registry.register_agent(registered, "refund-bot", persons.verify_order, names.check_distinct))
    host_key = base64.b64encode(keys.from_seed(b"h" * 32).public).decode()
    shop = orders.HostRegister(host="shop", key=host_key, agents=(AGENT,))
    made.do(registry.register_host(made.sign("olga", "host.register", shop), persons.verify_order))
    adopt(made, CONTRACT)


def _enrol(made: Made, person: str, roles: tuple[str, ...]) -> None:
    proof = persons.prove_enrolment(made.signers[person], made.origin)
    details = orders.PersonEnrol(
        person=person, key=made.public(person), proof=proof, roles=roles, contact=contact(person)
    )
    reached = registry.Contact(f"{person}@shop.example", SALT)
    made.do(
        registry.enrol_person(
            made.sign("olga", "person.enrol", details), reached, persons.verify_order, persons.check_enrolment
        )
    )


def contact(person: str) -> str:
    return commitment(SALT, f"{person}@shop.example".encode())


def vouch(made: Made, by: str, person: str) -> int:
    """Another person says that `person` was reached at their address."""
    details = orders.ContactVerify(person=person, contact=contact(person), how="vouched")
    verified: int = made.do(people.verify_contact(made.sign(by, "contact.verify", details), None, persons.verify_order))
    return verified


def put_floor(made: Made, text: str, signer: str = "olga") -> int:
    """Two persons put a floor in force; its entry."""
    floor = contract.load_floor(text, name="floor.yaml")
    named: dict[str, Any] = {"floor": floor.floor, "version": floor.version, "digest": contract.floor_digest(floor)}
    first = made.sign(signer, "floor.sign", orders.FloorSign(**named))
    cited = orders.order_digest(orders.parse_order(first.order))
    second = made.sign("piet", "floor.adopt", orders.FloorAdopt(**named, signed=cited))
    document = contract.floor_to_canonical(floor)
    put: int = made.do(floors.adopt_floor(first, second, document, persons.verify_order, names.check_distinct))
    return put


def adopt(made: Made, text: str) -> None:
    """Owner signs, approver adopts."""
    loaded = contract.load(text, name="refund-bot.yaml")
    digest = contract.digest(loaded)
    named: dict[str, Any] = {"contract": loaded.contract, "version": loaded.version, "digest": digest}
    signed = made.sign("olga", "contract.sign", orders.ContractSign(**named))
    first = orders.order_digest(orders.parse_order(signed.order))
    adopted = made.sign("piet", "contract.adopt", orders.ContractAdopt(**named, signed=first))
    document = contract.to_canonical(loaded)
    made.do(registry.adopt_contract(signed, adopted, document, persons.verify_order, "test/1"))


def work(made: Made) -> int:
    """Honest work of every kind, up to a suspension by rule, its containment, acknowledgment and release."""
    run = made.run()
    read = made.ask(run, "c1", "orders.read", {"order_id": "A-1"})
    made.settle(read)
    made.do(end_check(f"{read.entry}/logged", Seen(state="held", tries=1, saw=True, answered=True)))
    first = made.refund(run, "c2", "A-1", "49.90")
    made.do(outcomes.started(first.entry, "supervised", 4242, 77))
    made.settle(first)
    made.refund(run, "c3", "A-2", "150.00")  # escalated
    made.refund(run, "c4", "A-3", "900.00")  # denied
    made.ask(run, "c5", "orders.read", b'{"order_id": ')  # unreadable
    made.ask(None, "c6", "orders.read", {"order_id": "A-1"}, agent="spiffe://shop.example/agent/stranger")
    made.settle(made.refund(run, "c7", "A-1"))  # a repeat, recorded
    made.settle(made.refund(run, "c8", "A-1"), "failed")  # the second
    made.refund(run, "c9", "A-9")  # still running when it comes to that
    made.refund(run, "c10", "A-1")  # the third: suspended in this commit
    made.refund(run, "c11", "A-4")  # a suspended agent still asks
    _contain(made)
    seen = outcomes.Witnessed(
        witness="payments-log",
        ref="1",
        tool="payments.refund",
        at="2026-11-24T09:00:00Z",
        customer="c-A-1",
        action=first.entry,
        line="ab" * 32,
    )
    bypass = outcomes.Witnessed(
        witness="payments-log",
        ref="2",
        tool="payments.refund",
        at="2026-11-24T09:00:01Z",
        customer="c-X",
        action=None,
        line="cd" * 32,
    )
    made.do(outcomes.record_effects(AGENT, (seen, bypass)))
    _page(made)
    made.do(
        response.acknowledge(
            made.sign("olga", "incident.acknowledge", orders.IncidentAcknowledge(incident=1)), persons.verify_order
        )
    )
    _release(made)
    return run


def _contain(made: Made) -> None:
    """End what the suspension interrupted, as the supervisor reports it."""
    state = made.book.state
    for action in [seq for seq, row in state.action.items() if row.state == "open"]:
        ended = Ended(
            action=action, state="interrupted_confirmed", exit_code=None, signal=9, output=b"", truncated=False,
            errors=b"", started_us=0, ended_us=made.clock.mono_us(), swept=2, proven_by="sweep", why=None, sweep_us=900,
        )  # fmt: skip
        settlement = outcomes.Settlement(decision=action, state=ended.state, by="supervisor", exit_code=None)
        made.do(containment.ended_by_order(ended, "supervisor", _outcome_of(settlement)), 0)


def _outcome_of(settlement: outcomes.Settlement) -> Callable[[Turn], Draft]:
    return lambda turn: outcomes.draft_outcome(turn, settlement)


def _page(made: Made) -> None:
    attempt = kinds.PageAttempted(page=1, attempt=1, accepted=True, detail="250 ok", checkpoint=40, next_due_us=None)
    made.write(Draft(body=attempt, actor="node", agent=AGENT))


def _release(made: Made) -> None:
    propose = orders.ReleasePropose(
        incident=1, agent=AGENT, authority="PROBATION", conditions="the template is fixed", evidence=(3,)
    )
    signed = made.sign("olga", "release.propose", propose)
    made.do(releases.propose_release(signed, persons.verify_order))
    proposal = orders.order_digest(orders.parse_order(signed.order))
    approve = orders.ReleaseApprove(incident=1, agent=AGENT, proposal=proposal)
    made.do(releases.approve_release(made.sign("piet", "release.approve", approve), persons.verify_order))


def stops_and_undoing(made: Made, run: int) -> None:
    """A completed action is to be undone, a way round the gate is told, and a tool is stopped."""
    adopt(made, CONTRACT.replace("version: 1", "version: 2").replace("\nclauses:\n", UNDONE))
    sent = made.ask(run, "c20", "notes.send", {"customer_id": "c-1"})
    made.settle(sent)
    undo = orders.ActionCompensate(
        action=sent.entry, tool="notes.send", step="notes.retract", contract=str(made.book.state.agent[AGENT].contract),
        reason="it was the wrong customer",
    )  # fmt: skip
    made.do(order_undoing(made.sign("olga", "action.compensate", undo), persons.verify_order))
    made.do(record_probes(AGENT, 65534, [Probe(tool="payments.refund", tried=("probe",), ways=())]))
    stop = orders.StopScope(scope="tool:payments.refund", reason="the bank answers wrongly")
    made.do(stop_scope(made.sign("piet", "stop", stop, shown="0" * 64), persons.verify_order, source="node"))


def by_the_rules_of_now(made: Made) -> None:
    """A customer of the first incident was told, and a second one leaves a run to people."""
    made.write(Draft(body=kinds.ResponseRules(version=RULES), actor="node"))
    stored = [decode_entry(row.data) for row in made.book.storage.entries(0, made.book.state.size)]
    effect = next(entry for entry in stored if isinstance(entry.body, kinds.EffectWitnessed))
    tell = orders.CustomerTell(
        incident=1,
        customer=effect.body.customer,
        shown=effect.seq,
        how="mail",
        words=commitment(SALT, b"We are sorry."),
    )
    said = Said("We are sorry.", SALT.hex())
    made.do(customers.tell(made.sign("olga", "customer.tell", tell), persons.verify_order, said))
    suspend = orders.AgentSuspend(agent=AGENT, reason="the bank called")
    signed = made.sign("piet", "agent.suspend", suspend, shown="0" * 64)
    made.do(response.suspend(signed, persons.verify_order, source="node"), 0)
    of_being_told(made)


def of_being_told(made: Made) -> None:
    """Who is on call, a channel that is to be proven, a duty to inform, and what was noticed without a case."""
    now_us = made.do(_now)
    made.do(teams.note_turns)
    cover = orders.TeamCover(
        team="night", person="piet", instead_of="olga", since=format_at(now_us), until=format_at(now_us + 3_600_000_000)
    )
    made.do(teams.cover(made.sign("piet", "team.cover", cover), persons.verify_order))
    ask = orders.ChannelAsk(channel="pager", person="olga")
    made.do(proofs.ask(made.sign("olga", "channel.ask", ask), persons.verify_order, lambda page: f"{page:064x}"))
    gdpr = legal_periods.named("gdpr-33")
    clock = orders.ClockStart(
        incident=1, clock="gdpr-33", data=gdpr.digest, aware=format_at(now_us), deadlines=gdpr.shown(now_us)
    )
    made.do(clocks.start(made.sign("olga", "clock.start", clock), persons.verify_order, Said()))
    made.clock.skip(30_000_000)
    made.do(digests.make_digests)
    told = kinds.FeedDelivered(feed="siem", last=1, count=0, theirs=())
    made.write(Draft(body=told, actor="node"))


def small(path: Path) -> Path:
    """A closed workspace with entries of nearly every kind; its path."""
    with fresh(path) as made:
        begin(made)
        stops_and_undoing(made, work(made))
        by_the_rules_of_now(made)
        made.write(
            Draft(body=kinds.Health(part="storage", state="ok", detail="as ever"), actor="node"),
            Draft(body=kinds.NodeStopped(reason="asked to"), actor="node"),
        )
    return path
