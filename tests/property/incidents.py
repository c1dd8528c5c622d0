"""Drawn incidents on a virtual clock: what opens them, what people make of them, deaths at every step (I5, I7, I8).

    python -m tests.property.incidents --incidents 1000 --seed 7

prints one line and exits 1 at the first life in which anything does not hold.

Real: writer, reactions, orders of people, fence, runner, outbox, recovery. Virtual: the clock, the tools' processes and
the mail server. The node dies between any two steps of its own, and another takes over from what is stored; what
nobody answered is given again by whoever gave it. Judged by the entries alone (`tests.cases`, `tests.invariants`), by
what tools and mail server saw themselves, and by the offline verifier.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from random import Random
from typing import Any

from failwell.core import kinds, orders
from failwell.core.errors import FailwellError
from failwell.core.react import RULES
from failwell.core.records import Draft
from failwell.execute.survivors import Found
from failwell.gate.tickets import expire_tickets
from failwell.identity import keys
from failwell.ledger.jobs import CONTAINMENT, NORMAL, Plan
from failwell.node.assembly import write_now
from failwell.node.outbox import Outbox
from failwell.node.posting import EMAIL
from failwell.node.recovery import recover
from failwell.node.requests import Give
from failwell.node.takeover import Taken
from failwell.ports.notifier import Mail, NotifyFailed, Receipt
from failwell.ports.storage import StorageFailed
from failwell.response.letters import bare_letter
from failwell.response.objectives import miss_objectives
from failwell.response.releases import end_broken
from failwell.verify.conduct import Conduct
from failwell.verify.finding import Findings
from tests import invariants
from tests.property.people import ORDERS, SALT, Drawn, People
from tests.property.schedules import (
    FATAL,
    FINE,
    HANDS_OVER,
    ODD,
    TOOLS,
    Schedule,
    VirtualNode,
    VirtualTools,
    _without_time,
)
from tests.property.schedules import (
    RULES as CLAUSES,
)
from tests.unit.gate.house import AGENT, MINUTE_US, ORIGIN, OTHER, SECOND_US, contract_text, folded

STEPS = 110
#: How late a node's heartbeat is when another takes over.
TAKEOVER_US = 2 * SECOND_US
STEEP = "9.00"
#: What is agreed on, in the settings of most lives: a mail server, objectives, and who keeps which tool's records.
AGREED = {
    "mail": {"host": "mail.example"},
    "objectives": {
        each: {"acknowledge_s": 300, "investigate_s": 3600, "resolve_s": 7200} for each in ("major", "critical")
    },
    "keepers": [["payments.*", "sara"]],
}
SETTINGS = {"digest": "d" * 64, "text": json.dumps(AGREED, sort_keys=True)}
#: As which users of the operating system people give their orders.
USERS = {"olga": "uid 1", "piet": "uid 2", "quan": "uid 3", "rita": "uid 4", "sara": "uid 1"}
#: Tools whose acts touch somebody.
TOUCHING = TOOLS.replace(
    "    custody: none\n", "    custody: none\n    affects: {customer: customer_id, amount: amount}\n"
)
MORE = """
on_suspend: {unfinished_runs: olga}
"""


#: What the last of two who agree leads to by itself mostly: to order it takes a case that learned with work left open.
RARE = ("incident.close",)
#: Where the node may die: between any two of its steps.
POINTS = (
    "an order is received", "before a commit", "behind the sync, nothing read back",
    "behind a commit, before its consequences", "behind the consequences, nobody answered",
    "before a stop is sent", "behind a stop", "before a mail", "behind a mail",
)  # fmt: skip


class Died(BaseException):
    """The node's process is gone, here and now: nothing of ours may catch it."""


# ---- what the mail server sees -----------------------------------------------------------------------------------


class VirtualMail:
    """`ports.notifier.Notifier`. It takes a mail, refuses it, or takes it and its answer is lost."""

    def __init__(self, life: Life) -> None:
        self._life = life
        #: (page, Message-ID, address) of all that it ever took over.
        self.taken: list[tuple[int, str, str]] = []

    def send(self, mail: Mail) -> Receipt:
        life = self._life
        how = life.rng.choices(("taken", "refused", "taken, answer lost"), (8, 1, 1))[0] if life.faulty else "taken"
        life.point("before a mail")
        if how != "refused":
            self.taken.append((life.attempting, mail.message_id, mail.to))
        life.point("behind a mail")
        if how != "taken":
            raise NotifyFailed("no answer", temporary=True)
        return Receipt(accepted=True, detail="250", at="2026-01-01T00:00:00.000000Z")


class WatchedOutbox(Outbox):
    """The outbox, which says what it is about before it does it; its threads are never started."""

    life: Life

    def _attempt(self, due: Any) -> None:
        self.life.attempting = due.number
        try:
            super()._attempt(due)
        except (FailwellError, Died):  # the store does not take it, or nobody gets to it: nothing says it was sent
            self.life.counts["mail unrecorded"] += 1
            raise

    def post(self) -> int:
        """What its thread does when it wakes."""
        due = self._due(EMAIL)
        for each in due:
            self._attempt(each)
        return len(due)


class MortalTools(VirtualTools):
    """Tools whose node may die between any two orders to stop."""

    life: Life

    def interrupt(self, action: int) -> None:
        self.life.killed(action)
        self.life.point("before a stop is sent")
        super().interrupt(action)
        self.life.point("behind a stop")


class CaseNode(VirtualNode):
    """The node, with an outbox."""

    def __init__(self, world: Life) -> None:
        super().__init__(world)
        self._life = world
        self.outbox = WatchedOutbox(self.writer, world.mail, lambda page: bare_letter(page.incident or 0, ""), ORIGIN)
        self.outbox.life = world

    def _after(self, entries: list[Any]) -> None:
        self._life.point("behind a commit, before its consequences")
        super()._after(entries)
        self._life.point("behind the consequences, nobody answered")


@dataclass(eq=False)
class Given:
    """An order that somebody gave, and what they were told of it."""

    drawn: Drawn
    signed: orders.SignedOrder
    future: Future[Any] | None = None
    times: int = 0


# ---- the life ----------------------------------------------------------------------------------------------------


class Life(Schedule):
    """One workspace with its people; `step` does one thing, during which the node may die."""

    node_of = CaseNode  # type: ignore[assignment]
    #: As they stood at the end.
    entries: list[Any]

    def __init__(self, rng: Random) -> None:
        self.faulty = True
        #: After so many points, or at the next of this name.
        self.armed: int | str | None = None
        self.attempting = self.nodes = self.looked_us = 0
        self.given: list[Given] = []
        #: Orders that were answered: the number of the entry that their answer named, by nonce.
        self.answered: dict[str, int] = {}
        self.accepted: Counter[str] = Counter()
        #: What was stored when somebody looked: leaf by entry, blob by entry of what is held.
        self.leaves: list[bytes] = []
        self.held: dict[int, bytes | None] = {}
        self.stopped_runs: set[int] = set()
        self.mail = VirtualMail(self)
        super().__init__(rng)
        house = self.house
        for person in ("piet", "quan", "rita"):
            house.reached(person)
        house.enrol("sara", "operator", "approver", email="sara@shop.example")
        house.reached("sara")
        house.write(Draft(body=kinds.ResponseRules(version=RULES), actor="node"))
        if rng.random() < 0.7:
            house.write(Draft(body=kinds.Config(**SETTINGS), actor="person:olga"))
        house.write(self._started(0))
        self.furnished = tuple(f"I7: entry {seq} (" for seq in range(house.state.size))
        self.people = People(rng, lambda: self.house.state)
        self.tools = self._tools()
        self.node = CaseNode(self)
        self._watch()

    def _tools(self) -> MortalTools:
        tools = MortalTools(self.house.clock.mono_us, self._note)
        tools.life = self
        return tools

    def _contract(self, agent: str, version: int) -> str:
        steep = "  - {id: steep, deny: payments.refund, when: context.args.amount == 900, severity: major}\nlimits:"
        clauses = CLAUSES.replace("limits:", steep, 1)
        return contract_text(
            clauses + HANDS_OVER * (agent == AGENT) + MORE, tools=TOUCHING, agent=agent, version=version
        )  # fmt: skip

    # -- dying ---------------------------------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """A place between two steps of the node, at which it may die."""
        assert name in POINTS, name
        if isinstance(self.armed, int):
            self.armed -= 1
        if self.armed in (0, name):
            self.armed = None
            self.counts[f"died {name}"] += 1
            raise Died(name)

    def _watch(self) -> None:
        super()._watch()
        storage: Any = self.house.storage
        commit = storage.commit

        def mortal(*given: Any, **more: Any) -> Any:
            self.point("before a commit")
            done = commit(*given, **more)
            self.point("behind the sync, nothing read back")
            return done

        storage.commit = mortal

    def step(self) -> None:
        try:
            if self.house.clock.wall - self.looked_us >= SECOND_US:
                self.looked_us = self.house.clock.wall
                self.by_the_clock()
            super().step()
        except Died:
            self.take_over()
        self.look()

    def take_over(self) -> None:
        """Another node takes over, and may die of it as well, or find a disk that is full."""
        while True:
            try:
                self.house.clock.skip(TAKEOVER_US)
                self.kill_node()
                return
            except (Died, StorageFailed):
                continue

    def kill_node(self) -> None:
        """SIGKILL, as in a schedule; a machine that starts again, now and then."""
        self.counts["node killed"] += 1
        late = self.rng.random() < 0.5
        for tool in self.tools.tools.values():
            if tool.heard:
                continue
            if tool.end is None:
                self.tools.kill(tool, "the node is gone")
            if self.rng.random() < 0.7:
                self._report(tool)
            tool.heard = True
        self.calls.clear()
        for given in self.given:
            given.future = None
        if self.rng.random() < 0.2:
            self.house.clock.reboot(self.rng.choice((0, SECOND_US, 10 * MINUTE_US)))
        self.house.reopen()
        self.tools = self._tools()
        self.node = CaseNode(self)
        self._watch()
        recovered = recover(self.node.writer, self.reports, Found())
        lock: Any = None  # nothing here shares the workspace
        taken = Taken(lock, self.nodes, "silent" if late else "died", TAKEOVER_US, late)
        write_now(self.node.writer, (self._started(recovered), taken.draft()))
        assert not [seq for seq, row in self.house.state.action.items() if row.state == "open"]

    def _started(self, recovered: int) -> Draft:
        self.nodes += 1
        body = kinds.NodeStarted(
            software="test/1", pid=self.nodes, separation="embedded", self_test={}, recovered=recovered
        )  # fmt: skip
        return Draft(body=body, actor="node")

    # -- looking -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """What is stored stays as it is; what was answered is stored; what is held keeps its texts (I1, I5)."""
        storage = self.house.storage
        for row in storage.entries(len(self.leaves), 1_000_000):
            self.leaves.append(row.leaf)
            entry = json.loads(row.data)
            if entry["kind"] == "hold.placed":
                for seq in range(entry["body"]["first"], entry["seq"] + 1):
                    self.held.setdefault(seq, _blob(storage, seq))
            elif entry["kind"] == "run.stopped":
                self.stopped_runs |= set(entry["body"]["runs"])
        for given in [each for each in self.given if each.future is not None and each.future.done()]:
            self.given.remove(given)
            self._told(given)

    def _told(self, given: Given) -> None:
        assert given.future is not None
        try:
            answer = given.future.result()
        except FailwellError as error:
            self.counts[f"refused {given.drawn.kind}"] += 1
            self.counts[f"refused {given.drawn.kind}: {error.message[:60]}"] += 1
            return
        self.accepted[given.drawn.kind] += 1
        if isinstance(answer, int):
            nonce = orders.parse_order(given.signed.order).nonce
            self.answered[nonce] = answer

    def killed(self, action: int) -> None:
        """A stop is sent only once the order to stop, or the end of its time or its caller, is durable or known."""
        self.counts["stops sent"] += 1

    def within_nothing_stopped(self, permit: Any) -> None:
        super().within_nothing_stopped(permit)
        run = self.house.state.action[permit.action].run
        assert run not in self.stopped_runs, f"a start in run {run}, which was stopped"

    # -- what may happen -----------------------------------------------------------------------------------------

    def _moves(self) -> list[tuple[Callable[[], Any], float]]:
        mine = (self.release, self.lift, self.suspend, self.stop, self.kill_node, self.lose_caller)
        moves = [(move, weight) for move, weight in super()._moves() if move not in mine]
        return [
            *moves, (self.order, 26), (self.lead, 14), (self.order_again, 3), (self.post, 6), (self.arm, 2.2),
            (self.wrong, 3), (self.noticed, 0.6), (self.later, 2),
        ]  # fmt: skip

    def wrong(self) -> None:
        """An agent that does what it must not, and goes on with it."""
        agent, run = self.rng.choice(self.runs)
        amount = self.rng.choices((FATAL, STEEP, ODD, FINE), (1, 4, 2, 1))[0]
        for _ in range(self.rng.randint(1, 3)):
            self._ask(agent, run, self.house.proposal(run, amount, agent=agent))

    def noticed(self) -> None:
        """A tool's own log tells of an effect that no verdict was asked for."""
        if self.rng.random() < 0.5:
            return
        body = kinds.EffectWitnessed(
            witness="payments-log", ref=str(len(self.leaves)), tool="payments.refund", at_tool=None, fault=None,
            cursor=str(len(self.leaves)), customer=None, decision=None, line="0" * 64,
        )  # fmt: skip
        self._write(Draft(body=body, actor="witness:payments-log", agent=self.rng.choice((AGENT, OTHER))))

    def _write(self, draft: Draft) -> None:
        self.node.writer.submit(lambda turn: Plan((draft,), lambda entries: None))

    def by_the_clock(self) -> None:
        """What the node does every second."""
        for job, lane in ((end_broken, CONTAINMENT), (expire_tickets, NORMAL), (miss_objectives, NORMAL)):
            self.node.writer.submit(job, lane)

    def later(self) -> None:
        self.house.clock.skip(self.rng.choice((20 * SECOND_US, MINUTE_US, 20 * MINUTE_US)))

    def arm(self) -> None:
        """The node dies a little later, wherever it is then."""
        if self.faulty:
            self.armed = self.rng.randint(1, 14) if self.rng.random() < 0.5 else self.rng.choice(POINTS)

    @property
    def outbox(self) -> WatchedOutbox:
        assert isinstance(self.node.outbox, WatchedOutbox)
        return self.node.outbox

    def post(self) -> None:
        with contextlib.suppress(FailwellError):
            self.outbox.post()

    def lead(self) -> None:
        """Somebody means well, and goes some steps."""
        for _ in range(self.rng.randint(1, 4)):
            drawn = self.people.lead()
            if drawn is None:
                return
            self.given_by(drawn)
            self.node.drive()
            self.look()

    def order(self) -> None:
        drawn = self.people.draw()
        if drawn is not None:
            self.given_by(drawn)

    def given_by(self, drawn: Drawn) -> None:
        try:
            signed = self.house.sign(drawn.person, drawn.kind, drawn.details)
        except FailwellError:
            return
        given = Given(drawn, signed)
        self.given.append(given)
        self.give(given)
        while self.rng.random() < 0.7 and self.node.writer.turn():
            pass

    def order_again(self) -> None:
        """The same signed order once more: nobody was told what became of it, or somebody copied it."""
        if self.given:
            self.give(self.rng.choice(self.given))

    def give(self, given: Given) -> None:
        """As it comes over the socket."""
        asked, node, order = given.drawn, self.node, orders.parse_order(given.signed.order)
        given.times += 1
        request = Give(
            id=0, orders=(), text=asked.text, salt=None if asked.text is None else SALT.hex()
        )  # fmt: skip
        self.point("an order is received")
        try:
            job = node.given_orders._job_for(asked.kind, (given.signed,), request, USERS[asked.person])
        except FailwellError:
            self.given.remove(given)
            self.counts[f"unknown {asked.kind}"] += 1
            return
        given.future = node.writer.submit(job, node.given_orders._lane(order, given.signed))

    # -- the end -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nothing dies any more, mail is taken, whatever was not answered is given again."""
        self.faulty = self.failing = False
        self.armed = None
        for given in list(self.given):
            if given.future is None:
                self.give(given)
        super().settle()
        for _ in range(40):
            self.house.clock.skip(6 * MINUTE_US)
            self.by_the_clock()
            self.node.drive()
            self.outbox.post()
            if not self._unsent():
                break
        super().settle()
        self.look()

    def holds(self) -> None:
        super().holds()
        entries = self.spelled()
        # A house begins in the middle: its people and agents are there by nobody's order.
        wrong = [each for each in invariants.told(entries, at_rest=True) if not each.startswith(self.furnished)]
        assert not wrong, wrong
        wrong = judged(self)
        assert not wrong, wrong
        state, made = folded((entry, self.house.book.leaf(entry.seq)) for entry in self.house.entries())
        assert made == self.house.stored()
        assert state.size == len(entries)
        self._nothing_is_lost(entries)
        self._nothing_is_altered()
        self._mails_are_repeated_under_their_own_names(entries)

    def spelled(self) -> list[Any]:
        return [json.loads(row.data) for row in self.house.storage.entries(0, 1_000_000)]

    def _nothing_is_lost(self, entries: list[Any]) -> None:
        """I1, I7: whoever was told that their order was carried out finds it in the record, and once."""
        nonces = Counter(
            json.loads(entry["body"]["text"])["nonce"] for entry in entries if entry["kind"] == "order"
        )  # fmt: skip
        lost = [nonce for nonce in self.answered if nonces[nonce] != 1]
        assert not lost, f"orders {lost} were answered, and are not on record once"
        assert not [nonce for nonce, times in nonces.items() if times > 1]

    def _nothing_is_altered(self) -> None:
        now = [row.leaf for row in self.house.storage.entries(0, 1_000_000)]
        assert now == self.leaves, "what was stored is not what is"
        changed = [seq for seq, blob in self.held.items() if _blob(self.house.storage, seq) != blob]
        assert not changed, f"the texts of {changed} are held, and are not what they were"

    def _mails_are_repeated_under_their_own_names(self, entries: list[Any]) -> None:
        """A page repeats at most under its own Message-ID; once it is on record as accepted it is not sent again."""
        names: dict[int, set[tuple[str, str]]] = defaultdict(set)
        for page, message_id, to in self.mail.taken:
            names[page].add((message_id, to))
        assert all(len(found) == 1 for found in names.values()), f"a page went out under several names: {names}"
        distinct = {name for found in names.values() for name, _ in found}
        assert len(distinct) == len(names), "two pages share a name"
        tries = Counter(page for page, _, _ in self.mail.taken)
        bodies = [entry["body"] for entry in entries if entry["kind"] == "page.attempted"]
        attempted = Counter(body["page"] for body in bodies)
        accepted = {body["page"] for body in bodies if body["accepted"]}
        for page in accepted:
            assert tries[page], f"page {page} is on record as accepted, and the mail server never saw it"
        over = sum(max(0, tries[page] - attempted[page]) for page in tries)
        assert over <= self.counts["mail unrecorded"], f"{over} mails more than are on record or were cut off"
        assert not self._unsent(), f"pages {self._unsent()} were never sent"

    def _unsent(self) -> list[int]:
        """Pages to those who can be written to, that no mail server took."""
        state = self.house.state
        return [
            number for number, page in state.page.items()
            if page.state == "queued" and state.reachable(page.person) in ("olga", "sara")
        ]  # fmt: skip


def _blob(storage: Any, seq: int) -> bytes | None:
    found = storage.blob(seq)
    return None if found is None else repr(found).encode()


def judged(life: Life) -> list[str]:
    """What the offline verifier finds in the entries."""
    findings = Findings()
    conduct = Conduct(findings, keys.verify)
    for entry in life.house.entries():
        conduct.take(entry, life.house.book.leaf(entry.seq))
    conduct.end()
    return [f"{finding.code}: {finding.message}" for finding in findings.found() if _concerns(finding.code)]


def _concerns(code: str) -> bool:
    """People here are enrolled, and contracts their agents', without an order: a house begins in the middle."""
    return not code.startswith(("head.", "order.", "person.", "agent."))


def lived(seed: int | str, number: int, steps: int = STEPS) -> Life:
    """One life, whole."""
    with _without_time(), contextlib.closing(Life(Random(f"{seed}/{number}"))) as life:
        for _ in range(steps):
            life.step()
        life.settle()
        life.holds()
        life.entries = life.spelled()
        life.counts.update(type(entry.body).__name__ for entry in life.house.entries())
        life.counts["incidents"] = life.house.state.incidents
        return life


def main() -> int:
    """The campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=1000)
    parser.add_argument("--seed", default="")
    parser.add_argument("--told", action="store_true", help="what was counted, line by line")
    given = parser.parse_args()
    seed, began, seen, accepted, number = given.seed or "20260101", time.monotonic(), Counter[str](), Counter[str](), 0
    while seen["incidents"] < given.incidents:
        try:
            life = lived(seed, number)
        except Exception as wrong:  # noqa: BLE001  whatever it is, it is told with its seed
            sys.stdout.write(f"incidents FAILED: seed {seed}, life {number}: {type(wrong).__name__}: {wrong}\n")
            return 1
        seen, accepted, number = seen + life.counts, accepted + life.accepted, number + 1
    unseen = [f"a death {point}" for point in POINTS if not seen[f"died {point}"]]
    unseen += [f"an order {kind} that was carried out" for kind in ORDERS if not accepted[kind] and kind not in RARE]
    if unseen and given.incidents >= 1000:
        sys.stdout.write(f"incidents FAILED: seed {seed}: all hold, and none has {', '.join(unseen)}\n")
        return 1
    if given.told:
        for what, count in sorted((seen + accepted).items()):
            sys.stdout.write(f"  {count:8,} {what}\n")
    deaths = sum(count for what, count in seen.items() if what.startswith("died "))
    sys.stdout.write(
        f"incidents: {seen['incidents']} in {number} lives hold ({deaths:,} deaths, {sum(accepted.values()):,} orders "
        f"carried out of {len(accepted)} kinds, {seen['ReleaseApproved2'] + seen['ReleaseApproved']:,} released); "
        f"seed {seed}, {time.monotonic() - began:.0f} s\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
