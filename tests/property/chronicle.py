"""What every decision of a ledger must say, told from its entries' plain values by looking through all of them.

`Chronicle.take` holds one entry against everything before it. Which arguments were asked for, and what stands in the
contracts, it has from whoever drew them (`Known`): entries hold tokens and digests of those.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.property.reference import (
    HALVED,
    MOST,
    Facts,
    NotTyped,
    bound_by,
    facts_of,
    fired,
    parsed,
    strictest,
)

MINUTE_US = 60_000_000
ACTING = ("ACTIVE", "RESTRICTED", "PROBATION")


class Known(NamedTuple):
    """What was drawn: contracts by (agent, version), floors by (name, version), calls by id, principals by run."""

    contracts: dict[tuple[str, int], dict[str, Any]]
    floors: dict[tuple[str, int], dict[str, Any]]
    calls: dict[str, dict[str, Any]]
    principals: dict[int, str | None]


class Link(NamedTuple):
    """The word of one agent of the chain, and of its limits (limit, key, used, at most, adds, measure)."""

    agent: str
    said: list[tuple[str, str]]
    uses: list[tuple[dict[str, Any], Any, int, int, int, str]]


def _us(at: str) -> int:
    parsed_at = datetime.fromisoformat(at.replace("Z", "+00:00"))
    return int((parsed_at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000 + parsed_at.microsecond


def _same_text(raw: bytes) -> str | None:
    """What two spellings of the same arguments have in common."""
    try:
        value = parsed(raw)
    except NotTyped:
        return None
    whole = json.loads(json.dumps(value), parse_float=lambda text: int(float(text)) if float(text) % 1 == 0 else text)
    return json.dumps(whole, sort_keys=True)


class Chronicle:
    """Everything that happened so far, and nothing that was worked out of it."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.wrong: list[str] = []
        self.decided = 0
        self.verdicts: dict[str, int] = {}
        self._withheld_us = 0
        self._failed: set[str] = set()
        self._stopped: set[str] = set()
        self._floors_adopted: dict[str, int] = {}
        self._agents: dict[str, dict[str, Any]] = {}
        self._floors: dict[str, dict[str, Any]] = {}
        self._runs: dict[int, dict[str, Any]] = {}
        self._tickets: dict[int, dict[str, Any]] = {}
        #: One for each limit that each decision measured.
        self._measured: list[dict[str, Any]] = []

    def take(self, entry: Any) -> None:
        """Hold a decision against what was before it, and remember the entry."""
        taken = getattr(self, f"_{entry.kind.replace('.', '_')}", None)
        if taken is not None:
            taken(entry, entry.body)

    # -- what is remembered --------------------------------------------------------------------------------------------

    def _clock(self, entry: Any, body: Any) -> None:
        if body.reason != "boot" or body.stepped_us > MINUTE_US:
            self._withheld_us += body.stepped_us

    def _health(self, entry: Any, body: Any) -> None:
        (self._failed.add if body.state == "failed" else self._failed.discard)(body.part)

    def _agent_registered(self, entry: Any, body: Any) -> None:
        self._agents[entry.agent] = {
            "name": body.name, "authority": "REGISTERED", "contract": None, "id": None, "groups": body.groups,
        }  # fmt: skip

    def _contract_adopted(self, entry: Any, body: Any) -> None:
        self._agents[entry.agent]["contract"] = self.known.contracts[entry.agent, body.version]
        self._agents[entry.agent].update(id=body.contract, adopted=entry.seq)

    def _authority_changed(self, entry: Any, body: Any) -> None:
        self._agents[entry.agent]["authority"] = body.now

    def _scope_stopped(self, entry: Any, body: Any) -> None:
        self._stopped.add(body.scope)

    def _scope_lifted(self, entry: Any, body: Any) -> None:
        self._stopped.remove(body.scope)

    def _floor_adopted(self, entry: Any, body: Any) -> None:
        self._floors[body.floor] = self.known.floors[body.floor, body.version]
        self._floors_adopted[body.floor] = entry.seq

    def _run_opened(self, entry: Any, body: Any) -> None:
        above = self._runs.get(body.parent)
        chain = () if above is None else (*above["chain"], above["agent"])
        principal = self.known.principals[entry.seq] if above is None else above["principal"]
        self._runs[entry.seq] = {
            "agent": entry.agent, "chain": chain, "parent": body.parent, "principal": principal, "open": True,
            "request": body.request_provenance, "provenance": "absent" if principal is None else "asserted",
        }  # fmt: skip

    def _run_closed(self, entry: Any, body: Any) -> None:
        self._runs[entry.run]["open"] = False

    def _outcome(self, entry: Any, body: Any) -> None:
        for each in self._measured:
            if each["decision"] == body.decision:
                each["ended"] = body.state
        for ticket in self._tickets.values():
            if body.state == "blocked" and ticket["used_by"] == body.decision:
                ticket.update(state="approved", used_by=None)

    def _ticket_opened(self, entry: Any, body: Any) -> None:
        asked = next(each for each in self._measured if each["decision"] == body.ticket)["asked"]
        self._tickets[body.ticket] = {
            "state": "open", "clauses": body.clauses, "expires": body.expires_us, "asked": asked, "used_by": None,
            "of": self._acting(asked), "number": body.ticket, "contract": self._agents[entry.agent]["contract"],
        }  # fmt: skip

    def _ticket_decided(self, entry: Any, body: Any) -> None:
        self._tickets[body.ticket].update(state=body.answer, expires=body.expires_us)

    def _ticket_expired(self, entry: Any, body: Any) -> None:
        self._tickets[body.ticket]["state"] = "expired"

    # -- what must be said ---------------------------------------------------------------------------------------------

    def _decision(self, entry: Any, body: Any) -> None:
        asked = self.known.calls[body.call]
        now_us = _us(entry.at)
        links, passed, refused = self._judged(asked, now_us, asked["ticket"])
        if passed and strictest([each for link in links for each in link.said]) == "ESCALATE":
            # Something else waits for a person: the ticket is kept, and all of it is asked about.
            links, passed, refused = self._judged(asked, now_us, None)
        said = [(self._named(asked, link.agent, name), then) for link in links for name, then in link.said]
        said += [("ticket", "deny")] if refused else []
        verdict = strictest(said)
        uses = sorted(
            (self._named(asked, link.agent, limit["id"]), link.agent, measure, used, at_most, adds,
             measure == "rate" or (verdict == "ALLOW" and measure not in ("sequence", "gives")))
            for link in links
            for limit, _, used, at_most, adds, measure in link.uses
        )  # fmt: skip
        found = sorted(
            (use.limit, use.agent, use.measure, use.used, use.at_most, use.adds, use.reserved) for use in body.uses
        )
        heard = sorted((clause.id, clause.then) for clause in body.clauses)
        ticket = asked["ticket"] if verdict == "ALLOW" and passed else None
        if (body.verdict, heard, found, body.ticket) != (verdict, sorted(said), uses, ticket):
            self.wrong.append(
                f"entry {entry.seq} {asked}: {body.verdict} {heard} {found} {body.ticket}\n"
                f"  but it is {verdict} {sorted(said)} {uses} {ticket}"
            )
        self._hold_bounds(entry.seq, verdict, links, said)
        self._remember(entry, asked, links, verdict, now_us)
        if ticket is not None:
            self._tickets[ticket].update(state="used", used_by=entry.seq)
        self.decided += 1
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1

    def _remember(self, entry: Any, asked: dict[str, Any], links: list[Link], verdict: str, now_us: int) -> None:
        common = {
            "decision": entry.seq, "asked": asked, "at": now_us - self._withheld_us, "verdict": verdict, "ended": None,
            "run": asked["run"],
        }  # fmt: skip
        self._measured.append({**common, "agent": None, "limit": None, "key": None, "adds": 0, "measure": None})
        for link in links:
            for limit, key, _, _, adds, measure in link.uses:
                self._measured.append(
                    {**common, "agent": link.agent, "limit": limit["id"], "key": key, "adds": adds, "measure": measure}
                )

    def _hold_bounds(self, seq: int, verdict: str, links: list[Link], said: list[tuple[str, str]]) -> None:
        """INVARIANT: no bound is exceeded by what was allowed, unless it only records or a person answered for it."""
        recorded = {name for name, then in said if then == "record"}
        for link in links if verdict == "ALLOW" else ():
            for limit, _, used, at_most, adds, measure in link.uses:
                over = used < at_most if measure == "sequence" else measure != "gives" and used + adds > at_most
                if over and not any(name.endswith(limit["id"]) for name in recorded):
                    self.wrong.append(f"entry {seq} exceeds {limit['id']} of {link.agent}: {used} + {adds} > {at_most}")

    def _named(self, asked: dict[str, Any], agent: str, name: str) -> str:
        return name if agent == asked["agent"] else f"{self._agents[agent]['name']}/{name}"

    def _acting(self, asked: dict[str, Any]) -> tuple[Any, ...]:
        run = self._runs[asked["run"]]
        return asked["agent"], asked["tool"], run["principal"], run["chain"], _same_text(asked["raw"])

    def _judged(self, asked: dict[str, Any], now_us: int, number: int | None) -> tuple[list[Link], bool, bool]:
        """The word of each agent of the chain; whether a ticket lets something pass, and whether one is refused."""
        agent = asked["agent"]
        if self._failed:
            return [Link(agent, [("health.failed", "deny")], [])], False, False
        run = self._runs.get(asked["run"])
        if run is None or not run["open"] or run["agent"] != agent:
            return [Link(agent, [("run.unknown", "deny")], [])], False, False
        if self._stopped & self._scopes(asked["tool"], (*run["chain"], agent)):
            return [Link(agent, [("stopped", "deny")], [])], False, False
        if self._agents[agent]["contract"] is None:
            return [Link(agent, [("contract.absent", "deny")], [])], False, False
        ticket = None if number is None else self._tickets.get(number)
        good = ticket is not None and ticket["state"] == "approved" and now_us < ticket["expires"]
        good = good and ticket is not None and ticket["of"] == self._acting(asked) and None not in ticket["of"][4:]
        passed: tuple[str, ...] = ()
        if good and ticket is not None:
            passed = tuple(name for name in ticket["clauses"] if self._unchanged(ticket, agent, run["chain"], name))
        links = [self._link(each, run, asked, now_us, passed) for each in (*run["chain"], agent)]
        return links, bool(passed), number is not None and not good

    def _unchanged(self, ticket: dict[str, Any], agent: str, chain: tuple[str, ...], name: str) -> bool:
        """Whether a rule that a person was asked about still says what it said then."""
        adopted = {self._agents[each]["name"]: self._agents[each]["adopted"] for each in chain}
        holders = [adopted.get(part, self._floors_adopted.get(part)) for part in name.split("/")[:-1]]
        if any(seq is None or seq > ticket["number"] for seq in holders):
            return False
        contracts = ticket["contract"], self._agents[agent]["contract"]
        was, now = ([each for each in (*one["clauses"], *one["limits"]) if each["id"] == name] for one in contracts)
        return was == now

    def _scopes(self, tool: str, agents: tuple[str, ...]) -> set[str]:
        """Everything that an action can be stopped with."""
        rows = [self._agents[name] for name in agents]
        found = {"all", f"tool:{tool}", *(f"contract:{row['id']}" for row in rows)}
        return found | {f"group:{group}" for row in rows for group in row["groups"]}

    def _link(
        self, agent: str, run: dict[str, Any], asked: dict[str, Any], now_us: int, passed: tuple[str, ...]
    ) -> Link:  # fmt: skip
        row = self._agents[agent]
        if agent != asked["agent"] and self._taken_back(agent, run):
            return Link(agent, [("delegation", "deny")], [])
        contract = bound_by(row["contract"], [self._floors[name] for name in sorted(self._floors)])
        tool = next((each for each in contract["tools"] if each["tool"] == asked["tool"]), None)
        barred = self._barred(contract, row, run, tool, now_us)
        facts: Facts = {}
        try:
            if tool is None:
                parsed(asked["raw"])
            else:
                facts = facts_of(asked["raw"], tool["arguments"])
        except NotTyped:
            barred.append(("arguments", "deny"))
        if barred or tool is None:
            return Link(agent, barred, [])
        tightened = row["authority"] != "ACTIVE"
        said = []
        if tightened and tool["effect"] == "irreversible" and contract["irreversible"] != "allow":
            said.append(("authority.restricted", contract["irreversible"]))
        context = {"novel": (), "request": run["request"], "principal": run["provenance"], "baseline": "absent"}
        said += fired(contract["clauses"], tool["tool"], facts, context)
        halved = tightened and contract["halves"]
        uses = [
            self._use(agent, limit, tool, facts, asked, now_us - self._withheld_us, halved=halved)
            for limit in contract["limits"]
            if self._concerns(limit, tool)
        ]
        for limit, _, used, at_most, adds, measure in uses:
            if used < at_most if measure == "sequence" else measure != "gives" and used + adds > at_most:
                said.append((limit["id"], limit["then"]))
        answered = [
            (name, "record" if then == "escalate" and self._named(asked, agent, name) in passed else then)
            for name, then in said
        ]
        return Link(agent, answered, uses)

    def _taken_back(self, agent: str, run: dict[str, Any]) -> bool:
        to = (*run["chain"], run["agent"])[run["chain"].index(agent) + 1]
        if self._agents[to]["name"] not in self._agents[agent]["contract"]["delegates"]:
            return True
        parent = run["parent"]
        while parent is not None:
            if not self._runs[parent]["open"]:
                return True
            parent = self._runs[parent]["parent"]
        return False

    def _barred(
        self, contract: dict[str, Any], row: dict[str, Any], run: dict[str, Any], tool: Any, now_us: int
    ) -> list[tuple[str, str]]:  # fmt: skip
        barred = []
        if row["authority"] not in ACTING:
            barred.append((f"authority.{row['authority'].lower()}", "deny"))
        until = contract["until"]
        if until is not None and datetime.fromtimestamp(now_us / 1e6, UTC).date().isoformat() >= until:
            barred.append(("contract.valid", "deny"))
        if tool is None:
            barred.append(("tool.unlisted", "deny"))
        principal, allowed = run["principal"], contract["principals"]
        if allowed and not {principal, None if principal is None else principal.partition(":")[0]} & set(allowed):
            barred.append(("principal", "deny"))
        return barred

    # -- limits --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _concerns(limit: dict[str, Any], tool: dict[str, Any]) -> bool:
        if limit["kind"] == "blast":
            return bool(tool["effect"] == "irreversible")
        return bool(limit["tools"]) and tool["tool"] in (*limit["tools"], limit["needs"])

    def _use(
        self, agent: str, limit: dict[str, Any], tool: dict[str, Any], facts: Facts, asked: dict[str, Any], now_us: int,
        *, halved: bool,
    ) -> tuple[dict[str, Any], Any, int, int, int, str]:  # fmt: skip
        kind = limit["kind"]
        gives = kind == "sequence" and tool["tool"] not in limit["tools"]
        apart = [("key", name, type(facts.get(name)).__name__, facts.get(name)) for name in limit["keys"]]
        whose = {
            "run": asked["run"], "principal": self._runs[asked["run"]]["principal"],
            "subject": facts.get(tool["customer"]),
        }  # fmt: skip
        key = (*apart, *((each, whose[each]) for each in limit["each"]))
        sums = tool["amount"] if kind == "blast" and limit["sums"] else limit["sums"]
        adds = 1 if sums is None else facts[sums]
        used = 0 if gives else self._used(agent, limit, key, asked["run"], now_us)
        at_most = limit["at_most"] // 2 if halved and kind in HALVED else limit["at_most"]
        return limit, key, used, at_most, adds, "gives" if gives else kind

    def _used(self, agent: str, limit: dict[str, Any], key: Any, run: int, now_us: int) -> int:
        kind = limit["kind"]
        mine = [
            each for each in self._measured if (each["agent"], each["limit"], each["key"]) == (agent, limit["id"], key)
        ]
        if kind == "sequence":
            done = (each for each in mine if each["measure"] == "gives" and each["run"] == run)
            return int(any(each["verdict"] == "ALLOW" and each["ended"] == "completed" for each in done))
        allowed = [each for each in mine if each["verdict"] == "ALLOW"]
        if kind == "concurrent":
            return sum(each["measure"] == "concurrent" and each["ended"] is None for each in allowed)
        per_us = None if limit["per"] is None else limit["per"] * MINUTE_US
        counted = [
            each["adds"]
            for each in mine
            if each["measure"] == "rate"
            or (
                each["verdict"] == "ALLOW"
                and each["ended"] != "blocked"
                and each["measure"] not in ("concurrent", "sequence", "gives")
            )
            if per_us is None or now_us - each["at"] < per_us
        ]
        return min(sum(counted), MOST) if limit["sums"] else len(counted)
