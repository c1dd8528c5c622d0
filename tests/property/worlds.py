"""Random workspaces lived through: up to three agents under drawn contracts and a floor, clocks, people, restarts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from failwell.core import contract as contracts
from failwell.core import kinds, orders
from failwell.core import stops as stopped
from failwell.core.errors import NotFound, Refused
from failwell.core.machines import OUTCOMES
from failwell.core.records import Draft
from failwell.gate import runs, tickets
from failwell.gate.verdicts import Proposal
from failwell.identity import persons
from failwell.response import releases, stops
from tests.property import drawn
from tests.property.chronicle import Chronicle, Known
from tests.unit.gate.house import AGENT, DAY_US, HOUR_US, MINUTE_US, OTHER, SECOND_US, House

THIRD = "spiffe://shop.example/agent/third-bot"
AGENTS = (AGENT, OTHER, THIRD)
PRINCIPALS = (None, "customer:1", "customer:2", "clerk:7")
SKIPS = (0, 1, SECOND_US, 20 * SECOND_US, MINUTE_US - 1, MINUTE_US, 5 * MINUTE_US, HOUR_US, 9 * HOUR_US)
STEPS_US = (-HOUR_US, 0, MINUTE_US, MINUTE_US + 1, 3 * HOUR_US, DAY_US)


class World:
    """One workspace and what was drawn for it. `step` does one thing that may happen in it."""

    def __init__(self, rng: Random, agents: int = 3) -> None:
        self.rng = rng
        self.house = House()
        self.house.people()
        self.house.enrol("sara", "reviewer")
        self.tools = drawn.tools(rng)
        self.known = Known({}, {}, {}, {})
        self.agents = AGENTS[:agents]
        for agent in self.agents:
            self.house.register(agent, groups=() if agent == THIRD else ("payments",))
        if rng.random() < 0.5:
            self.adopt_floor()
        for agent in self.agents:
            self.adopt(agent)
        self.open_run(self.agents[0])

    # -- what is drawn -------------------------------------------------------------------------------------------------

    def adopt(self, agent: str) -> None:
        """The next version of the agent's contract, which may hand work to the agent after it."""
        after = AGENTS[AGENTS.index(agent) + 1 :][:1]
        version = 1 + sum(name == agent for name, _ in self.known.contracts)
        while True:
            until = self.rng.choice((None, None, None, None, "2026-11-20"))
            contract = drawn.contract(
                self.rng, agent, self.tools, version=version, until=until, clauses=[],
                delegates=[each.rpartition("/")[2] for each in after if self.rng.random() < 0.9],
            )  # fmt: skip
            contract["clauses"] = drawn.clauses(self.rng, contract["tools"], 2)
            try:
                loaded = contracts.load(drawn.yaml_of(contract), name="drawn.yaml")
                contracts.compile(loaded, self.house.state.floors_of(agent))
                break
            except contracts.BrokenContract:
                continue  # a clause that can never hold, or that the floor cannot stand under, is adopted by nobody
        self.known.contracts[agent, version] = contract
        self.house.adopt(drawn.yaml_of(contract))

    def adopt_floor(self) -> None:
        version = 1 + len(self.known.floors)
        while True:
            floor = drawn.floor(self.rng, self.tools, version)
            try:
                loaded = contracts.load_floor(drawn.floor_of(floor), name="floor.yaml")
                for agent in self.agents:
                    contract = self.house.state.contract_of(agent)
                    if contract is not None:
                        contracts.compile(contract, (loaded,))
                break
            except contracts.BrokenContract:
                continue
        self.known.floors[floor["floor"], version] = floor
        document = contracts.floor_to_canonical(loaded).decode()
        body = kinds.FloorAdopted(
            floor=loaded.floor, version=version, digest=contracts.floor_digest(loaded), scope=loaded.scope,
            signer="olga", approver="piet", document=document,
        )  # fmt: skip
        self.house.write(Draft(body=body, actor="person:olga"))

    def proposal(self, **more: Any) -> Proposal:
        """An action that some agent wants in some run: mostly in one of its own that is open."""
        rng = self.rng
        live = [seq for seq, run in self.house.state.run.items() if run.open]
        run = rng.choice(live) if live and rng.random() < 0.97 else rng.choice((None, 3, 10**6))
        agent = self.house.state.run[run].agent if run in live else rng.choice(self.agents)
        if rng.random() < 0.02:
            agent = rng.choice(self.agents)
        tool, raw = drawn.call(rng, self.tools)
        asked = {"agent": agent, "run": run, "tool": tool, "raw": raw, "ticket": None, **more}
        call = f"call-{len(self.known.calls)}"
        self.known.calls[call] = asked
        return Proposal(
            agent=asked["agent"], run=asked["run"], call=call, tool=asked["tool"], arguments=asked["raw"], reason=None,
            ticket=asked["ticket"],
        )  # fmt: skip

    # -- what may happen -----------------------------------------------------------------------------------------------

    def ask(self) -> None:
        self.house.do(self.house.gate.decide(self.proposal()))

    def ask_at_once(self) -> None:
        self.house.batch(*(self.house.gate.decide(self.proposal()) for _ in range(3)))

    def ask_in_vain(self) -> None:
        """Decided, and lost with its batch: nobody was told."""
        self.house.stage(self.house.gate.decide(self.proposal()))
        self.house.book.recover()

    def ask_with_a_ticket(self) -> None:
        """Mostly the very action that a ticket was approved for."""
        opened = [entry for entry in self.house.entries() if isinstance(entry.body, kinds.TicketOpened)]
        if not opened:
            return
        number = self.rng.choice(opened).body.ticket
        if self.rng.random() < 0.7:
            self.answer(number, "approve")
        first = self.known.calls[self.house.entries(number)[0].body.call]
        more = dict(first) if self.rng.random() < 0.9 else {}
        self.house.do(self.house.gate.decide(self.proposal(**{**more, "ticket": number})))

    def answer(self, number: int, word: str) -> None:
        row = self.house.state.ticket.get(number)
        if row is None:
            return
        details: orders.Details
        if word == "approve":
            details = orders.TicketApprove(ticket=number, arguments=row.arguments, reason="as asked")
        else:
            details = orders.TicketDeny(ticket=number, reason="not this one")
        shown = None if word == "approve" else "0" * 64
        signed = self.house.sign("sara", f"ticket.{word}", details, shown)
        job = tickets.approve_ticket if word == "approve" else tickets.deny_ticket
        self.house.do(job(signed, persons.verify_order))

    def deny_a_ticket(self) -> None:
        if self.house.state.ticket:
            self.answer(self.rng.choice(list(self.house.state.ticket)), "deny")

    def expire(self) -> None:
        self.house.do(tickets.expire_tickets)

    def settle(self) -> None:
        running = list(self.house.state.action)
        if running:
            likely = ("completed", "completed", "completed", "blocked", *sorted(OUTCOMES))
            action, state = self.rng.choice(running), self.rng.choice(likely)
            waited = stopped.awaits(self.house.state, action) or any(
                action in row.waiting for row in self.house.state.incident.values()
            )
            if waited:  # an order to stop overtook its end, whatever that was
                state = self.rng.choice(("interrupted_confirmed", "completed_after_interrupt", "blocked"))
            if waited or "interrupt" in state:  # said only where an entry before it says how the stop went
                self.house.stop(action, state)
            else:
                self.house.settle(action, state)

    def open_run(self, agent: str | None = None) -> None:
        principal = self.rng.choice(PRINCIPALS)
        request = self.rng.choice((None, "please"))
        number = self.house.run(agent or self.rng.choice(self.agents), principal=principal, request=request)
        self.known.principals[number] = principal

    def hand_over(self) -> None:
        live = [(seq, run) for seq, run in self.house.state.run.items() if run.agent != AGENTS[-1]]
        if live:
            seq, run = self.rng.choice(live)
            to = AGENTS[AGENTS.index(run.agent) + 1]
            if to in self.agents:
                self.house.run(to, parent=seq)

    def close_run(self) -> None:
        live = list(self.house.state.run)
        if len(live) > 1:
            run = self.rng.choice(live)
            running = frozenset(self.house.state.action) if self.rng.random() < 0.5 else frozenset()
            self.house.do(runs.close_run(run, self.house.state.run[run].agent, "done", running))

    def reboot(self) -> None:
        self.house.clock.reboot(self.rng.choice(STEPS_US))
        self.house.reopen()

    def suspend(self) -> None:
        self.house.suspend("quan", self.rng.choice(self.agents))

    def release(self) -> None:
        """Whoever is suspended comes back on probation."""
        house = self.house
        for agent in self.agents:
            incident = house.agent(agent).incident
            if incident is None or house.agent(agent).authority != "SUSPENDED":
                continue
            for action in house.state.incident[incident].waiting:
                house.stop(action)
            for number, page in list(house.state.page.items()):
                if page.incident == incident:
                    done = kinds.PageAttempted(
                        page=number, attempt=1, accepted=True, detail="250", checkpoint=1, next_due_us=None
                    )
                    house.write(Draft(body=done, actor="node", agent=agent))
            house.acknowledge("olga", incident)
            proposal = house.propose("olga", incident, agent=agent)
            details = orders.ReleaseApprove(incident=incident, agent=agent, proposal=proposal)
            signed = house.sign("piet", "release.approve", details)
            house.do(releases.approve_release(signed, persons.verify_order))

    def stop_more(self) -> None:
        """People stop everything, a group, a tool or a contract; sometimes a second time."""
        scopes = ["all", "group:payments", "group:nobody"]
        scopes += [f"contract:{agent.rpartition('/')[2]}" for agent in self.agents]
        scopes += [f"tool:{tool['tool']}" for tool in self.tools]
        details = orders.StopScope(scope=self.rng.choice(scopes), reason="it is on fire")
        signed = self.house.sign("quan", "stop", details, shown="0" * 64)
        self.house.do(stops.stop_scope(signed, persons.verify_order, source="node"))

    def lift(self) -> None:
        """Two others lift one stop, once everything that it interrupted has its end."""
        house = self.house
        closed = [scope for scope, row in house.state.stop.items() if row.closed]
        if not closed:
            return
        scope = self.rng.choice(closed)
        for action in house.state.stop[scope].waiting:
            house.stop(action)
        epoch = house.state.stop[scope].epoch
        propose = orders.LiftPropose(scope=scope, epoch=epoch, conditions="it is out", evidence=(3,))
        proposed = house.sign("olga", "stop.propose", propose)
        house.do(stops.propose_lift(proposed, persons.verify_order))
        digest = orders.order_digest(orders.parse_order(proposed.order))
        agreed = house.sign("piet", "stop.lift", orders.LiftApprove(scope=scope, epoch=epoch, proposal=digest))
        house.do(stops.approve_lift(agreed, persons.verify_order))

    def ail(self) -> None:
        """A part fails, an action is asked for meanwhile, and the part works again."""
        for state in ("failed", "ok"):
            self.house.write(Draft(body=kinds.Health(part="guard", state=state, detail=""), actor="node"))
            self.ask()

    def step(self) -> None:
        """One thing; what is refused changes nothing."""
        what = self.rng.choices([each for each, _ in HAPPENS], [weight for _, weight in HAPPENS])[0]
        try:
            what(self)
        except (Refused, NotFound):
            return

    # -- what must hold ------------------------------------------------------------------------------------------------

    def judged(self) -> Chronicle:
        """Every decision held against the reference."""
        chronicle = Chronicle(self.known)
        for entry in self.house.entries():
            chronicle.take(entry)
        return chronicle


HAPPENS: list[tuple[Callable[[World], None], float]] = [
    (World.ask, 50), (World.ask_at_once, 4), (World.ask_in_vain, 3), (World.ask_with_a_ticket, 8),
    (World.deny_a_ticket, 1), (World.expire, 2), (World.settle, 22), (World.open_run, 3), (World.hand_over, 8),
    (World.close_run, 1), (lambda world: world.house.clock.skip(world.rng.choice(SKIPS)), 16), (World.reboot, 2),
    (lambda world: world.house.reopen(), 4), (World.suspend, 0.3), (World.release, 9),
    (lambda world: world.adopt(world.rng.choice(world.agents)), 1), (World.adopt_floor, 1), (World.ail, 1),
    (World.stop_more, 0.4), (World.lift, 6),
]  # fmt: skip
