"""The independent checker of DESIGN section 2: reads a ledger file with sqlite3, json, hashlib and cryptography alone.

It shares no code with the product. `check(ledger)` asserts I1 to I8 as far as a file can show them; a list of
acknowledged entry numbers and a tool's own log make it see more. Findings are sentences; none is the good result.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.cases import Cases

Json = dict[str, Any]
GOVERNED = {"ACTIVE", "RESTRICTED", "PROBATION"}
AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


#: What refuses an agent that is not governed, too.
KEPT = {"health.failed", "run.unknown", "call.reused", "authority.observed"}


def _ungoverned(body: Json) -> bool:
    return body.get("governed") is False


def _may_run(body: Json) -> bool:
    return body["verdict"] == "ALLOW" or _ungoverned(body)


def _us(at: str) -> int:
    """Microseconds of an RFC 3339 time."""
    return round(datetime.fromisoformat(at).timestamp() * 1_000_000)


@dataclass
class Report:
    """What was read and what does not hold."""

    entries: list[Json] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


@dataclass
class Agent:
    """An agent as far as the entries up to now tell it."""

    count: int = 0
    last: int | None = None
    authority: str = "UNREGISTERED"
    epoch: int = 0
    contract: str | None = None
    harmless: set[str] = field(default_factory=set)
    owner: str | None = None
    observed_until: int | None = None
    suspended_at: int | None = None
    suspended_mono: int | None = None
    suspended_by: str | None = None
    suspensions: list[tuple[int, int | None]] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)


def check(ledger: Path, *, acks: Iterable[int] = (), runs: Sequence[Json] = (), at_rest: bool = False) -> Report:
    """Check a ledger file, of a running node or not.

    `acks`: numbers of entries that somebody was told of. `runs`: lines of the tool's own log. `at_rest`: nothing
    runs any more, so nothing may be left without its end.
    """
    report = Report()
    rows, checkpoint, tables = _read(ledger)
    _Walk(report, rows, checkpoint).walk()
    story = _tell(report, at_rest)
    _projections(report, story, tables)
    for seq in acks:
        if seq >= len(report.entries):
            report.findings.append(f"I1: entry {seq} was acknowledged and is not there")
    _witness(report, story, runs)
    return report


def told(entries: list[Json], *, at_rest: bool = False) -> list[str]:
    """What does not hold of what these entries, a ledger from its beginning, tell; their form is not looked at."""
    report = Report(entries)
    _tell(report, at_rest)
    return report.findings


def _tell(report: Report, at_rest: bool) -> _Story:
    story, cases = _Story(report), Cases(report.findings.append)
    for entry in report.entries:
        story.take(entry)
        cases.take(entry)
    story.close(at_rest)
    cases.close(at_rest)
    return story


def entries(ledger: Path) -> list[Json]:
    """The entries as they stand in a ledger file, of a running node or not; nothing is checked."""
    return [json.loads(data) for _, data, _ in _read(ledger)[0]]


# ---- reading ---------------------------------------------------------------------------------------------------


def _read(ledger: Path) -> tuple[list[Any], Any, dict[str, dict[Any, Json]]]:
    """All rows, from a copy: a reader must not take part in the file's locking."""
    with tempfile.TemporaryDirectory(prefix="fw-check-") as name:
        copy = Path(name) / "ledger.db"
        _copy(ledger, copy)
        connection = sqlite3.connect(copy)
        try:
            rows = connection.execute("SELECT seq, data, leaf FROM entry ORDER BY seq").fetchall()
            checkpoint = connection.execute("SELECT size, note FROM checkpoint").fetchone()
            tables = {
                table: {
                    key: json.loads(row)
                    for key, row in connection.execute(f'SELECT key, row FROM "{table}"').fetchall()
                }
                for table in ("agent", "action", "head", "incident")
            }
        finally:
            connection.close()
    return rows, checkpoint, tables


def _copy(ledger: Path, copy: Path) -> None:
    log = ledger.with_name(ledger.name + "-wal")
    for _ in range(50):
        before = _stamps(ledger, log)
        shutil.copyfile(ledger, copy)
        if log.exists():
            shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
        if _stamps(ledger, log) == before:
            return
    raise AssertionError(f"{ledger} never stood still")


def _stamps(*paths: Path) -> list[tuple[int, int] | None]:
    found = [path.stat() if path.exists() else None for path in paths]
    return [None if stat is None else (stat.st_mtime_ns, stat.st_size) for stat in found]


# ---- form: one spelling, one tree, one order, one clock ----------------------------------------------------------


class _Walk:
    def __init__(self, report: Report, rows: list[Any], checkpoint: Any) -> None:
        self._report = report
        self._rows = rows
        self._checkpoint = checkpoint
        self._leaves: list[bytes] = []

    def _say(self, seq: int, text: str) -> None:
        self._report.findings.append(f"I1: entry {seq} {text}")

    def walk(self) -> None:
        at, mono, boot = "", 0, ""
        for place, (seq, data, leaf) in enumerate(self._rows):
            entry = json.loads(data)
            self._report.entries.append(entry)
            self._leaves.append(leaf)
            if seq != place or entry["seq"] != place:
                self._say(place, f"has the number {entry['seq']} in row {seq}")
            spelled = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            if spelled != data:
                self._say(place, "is not spelled canonically")
            if hashlib.sha256(b"\0" + data).digest() != leaf:
                self._say(place, "does not hash to its leaf")
            if not AT.fullmatch(entry["at"]) or entry["at"] < at:
                self._say(place, f"is at {entry['at']}, after {at}")
            if entry["boot"] == boot and entry["mono_us"] < mono:
                self._say(place, "turns the boot clock back")
            at, mono, boot = entry["at"], entry["mono_us"], entry["boot"]
            self._cite(entry)
            if (entry["kind"] == "genesis") != (place == 0):
                self._say(place, f"is a {entry['kind']}")
        self._seal()

    def _cite(self, entry: Json) -> None:
        for origin, seq, leaf in entry["refs"]:
            if origin != entry["origin"] or seq >= entry["seq"] or self._leaves[seq].hex() != leaf:
                self._say(entry["seq"], f"cites {seq} as something that it is not")

    def _seal(self) -> None:
        if self._checkpoint is None:
            self._say(len(self._rows), "is under no checkpoint")
            return
        size, note = self._checkpoint
        text, _, signatures = bytes(note).partition(b"\n\n")
        origin, length, root = text.decode().split("\n")[:3]
        # The guard signs behind the acknowledgment: a checkpoint may stand before the end, never beyond it.
        if not 0 < size <= len(self._rows) or int(length) != size:
            self._say(int(length), f"ends the checkpoint, {len(self._rows)} entries lie there")
        if base64.b64decode(root) != _root(self._leaves[: int(length)]):
            self._say(int(length), "is under a checkpoint with another root")
        key = self._report.entries[0]["body"]["log_key"]
        for entry in self._report.entries[:size]:  # the key may have changed, and the log may have been continued
            if entry["kind"] in ("log.key", "continued"):
                key = entry["body"]["key"]
        if (
            origin != key.split("+")[0]
            or origin not in {entry["origin"] for entry in self._report.entries[size - 1 : size]}
            or not _note_holds(key, text + b"\n", signatures)
        ):
            self._say(int(length), "is under a checkpoint that the ledger's key did not sign")


def _root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, as it is written there."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + _root(leaves[:split]) + _root(leaves[split:])).digest()


def _note_holds(vkey: str, text: bytes, signatures: bytes) -> bool:
    """C2SP signed-note: some signature line verifies under the key of the genesis."""
    public = base64.b64decode(vkey.split("+", 2)[2])[1:]
    for line in signatures.decode().splitlines():
        signature = base64.b64decode(line.rsplit(" ", 1)[1])[4:]
        if _verifies(public, signature, text):
            return True
    return False


def _verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- story: who may, who did, who stopped ------------------------------------------------------------------------


class _Story:
    """The life of the workspace, entry by entry."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.agents: dict[str, Agent] = {}
        self.decisions: dict[int, Json] = {}
        self.outcomes: dict[int, Json] = {}
        self.ordered: dict[int, int] = {}
        self.ended: dict[int, str] = {}
        self._calls: dict[tuple[int, str], int] = {}
        self._persons: dict[str, bytes] = {}
        self._gone: set[str] = set()
        self._nonces: set[tuple[str, str]] = set()
        self._orders: dict[int, Json] = {}
        self._proposals: dict[int, str] = {}
        #: By agent: the order by which one person alone gave it back.
        self._broken: dict[str, int] = {}
        self._unsignaled: dict[int, int] = {}
        self._due: list[tuple[int, str, str]] = []
        #: By ticket: what it is bound to, until when it is approved (None: it is not), which decision used it up.
        self._tickets: dict[int, Json] = {}
        #: By scope: its epoch, who ordered its stop (nobody while it is open), and from which entry to which it held.
        self._epochs: dict[str, int] = {}
        self._stopped_by: dict[str, set[str]] = {}
        self._lifts: dict[str, tuple[str, str]] = {}
        self.scope_stops: dict[str, list[tuple[int, int | None]]] = {}
        self.within: dict[int, set[str]] = {}

    def _say(self, invariant: str, entry: Json, text: str) -> None:
        self._report.findings.append(f"{invariant}: entry {entry['seq']} ({entry['kind']}) {text}")

    def take(self, entry: Json) -> None:
        if entry["agent"] is not None:
            agent = self.agents.setdefault(entry["agent"], Agent())
            if (entry["aseq"], entry["aprev"]) != (agent.count, agent.last):
                self._say("I1", entry, f"breaks the chain of {entry['agent']}")
            agent.count, agent.last = agent.count + 1, entry["seq"]
        take = getattr(self, "_" + entry["kind"].replace(".", "_"), None)
        if take is not None:
            take(entry, entry["body"])

    def _agent(self, entry: Json) -> Agent:
        return self.agents[entry["agent"]]

    # -- people

    def _person_enrolled(self, entry: Json, body: Json) -> None:
        self._persons[body["person"]] = base64.b64decode(body["key"])
        cited = self._cited_order(entry, {"init", "person.enrol"})
        if cited is not None and cited["order"] == "init" and cited["person"] != body["person"]:
            self._say("I7", entry, "enrols somebody else by the first order")

    def _order(self, entry: Json, body: Json) -> None:
        order = json.loads(body["text"])
        if (order["person"], order["order"]) != (body["person"], body["order"]):
            self._say("I7", entry, "says something else than its signed text")
        if (body["person"], order["nonce"]) in self._nonces:
            self._say("I7", entry, "plays an order a second time")
        self._nonces.add((body["person"], order["nonce"]))
        self._orders[entry["seq"]] = body
        public = self._persons.get(body["person"])
        if body["order"] == "init":
            public = base64.b64decode(order["details"]["key"])
        signed = b"failwell/order/1\n" + body["text"].encode()
        if body["person"] in self._gone:
            self._say("I7", entry, f"is an order of {body['person']}, who had left")
        if public is None or not _verifies(public, base64.b64decode(body["signature"]), signed):
            self._say("I7", entry, f"is not signed by {body['person']}")
        if body["order"] == "agent.suspend":
            self._due.append((entry["seq"], entry["agent"], "order"))

    def _person_left(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"person.leave"})
        self._gone.add(body["person"])

    def _contact_verified(self, entry: Json, body: Json) -> None:
        cited = self._cited_order(entry, {"contact.verify"})
        if cited is not None and (cited["person"] == body["person"]) != (body["how"] == "code"):
            self._say("I7", entry, f"says that {body['person']} was reached by the word of {cited['person']}")

    def _agent_assigned(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"agent.assign"})
        if body["owner"] in self._gone:
            self._say("I7", entry, f"assigns an agent to {body['owner']}, who had left")

    def _floor_adopted(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"floor.sign", "floor.adopt"})
        if body["signer"] == body["approver"]:
            self._say("I7", entry, "was adopted by one person")

    def _cited_order(self, entry: Json, kinds: set[str]) -> Json | None:
        for _, seq, _ in entry["refs"]:
            if seq in self._orders and self._orders[seq]["order"] in kinds:
                return self._orders[seq]
        self._say("I7", entry, f"follows no order {' or '.join(sorted(kinds))}")
        return None

    def _host_registered(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"host.register"})

    def _config(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"init", "config.apply"})

    def _acknowledged(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"incident.acknowledge"})

    # -- agents

    def _agent_registered(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"agent.register"})
        self._agent(entry).authority = "REGISTERED"
        self._agent(entry).owner = body["owner"]
        self._agent(entry).groups = set(body.get("groups", ()))

    def _agent_grouped(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"agent.group"})
        self._agent(entry).groups = set(body["groups"])

    # -- stops of more than one agent

    def _scopes(self, entry: Json, body: Json) -> set[str]:
        """What a decision is within: all, its tool, and of everybody who works or handed over, groups and contract."""
        found = {"all", f"tool:{body['tool']}"}
        for part in body["chain"]:
            agent = self.agents.get(part.removeprefix("agent:")) if part.startswith("agent:") else None
            if agent is not None:
                found |= {f"group:{group}" for group in agent.groups}
                found |= {f"contract:{agent.contract.partition('@')[0]}"} if agent.contract else set()
        return found

    def _scope_stopped(self, entry: Json, body: Json) -> None:
        scope = body["scope"]
        if not self._stopped_by.get(scope):
            if body["epoch"] <= self._epochs.get(scope, 0):
                self._say("I3", entry, f"stops {scope} at epoch {body['epoch']}, it was {self._epochs[scope]}")
            self.scope_stops.setdefault(scope, []).append((entry["seq"], None))
        self._epochs[scope] = body["epoch"]
        self._stopped_by.setdefault(scope, set()).add(body["by"])

    def _scope_proposed(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"stop.propose"})
        self._lifts[body["scope"]] = (body["person"], body["digest"])

    def _scope_lifted(self, entry: Json, body: Json) -> None:
        scope = body["scope"]
        self._cited_order(entry, {"stop.lift"})
        proposer, digest = self._lifts.get(scope, ("", ""))
        if digest != body["digest"] or proposer in ("", body["person"]):
            self._say("I7", entry, f"lifts the stop of {scope} by one person")
        if {f"person:{proposer}", f"person:{body['person']}"} & self._stopped_by.get(scope, set()):
            self._say("I7", entry, f"lifts the stop of {scope} by who ordered it")
        if not self.scope_stops.get(scope):
            self._say("I7", entry, f"lifts {scope}, which was not stopped")
            return
        self.scope_stops[scope][-1] = (self.scope_stops[scope][-1][0], entry["seq"])
        self._stopped_by[scope] = set()

    def _contract_adopted(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"contract.sign", "contract.adopt"})
        if body["owner"] == body["approver"]:
            self._say("I7", entry, "was adopted by one person")
        self._agent(entry).contract = f"{body['contract']}@{body['version']}"
        tools = json.loads(body["document"])["tools"]
        self._agent(entry).harmless = {tool["tool"] for tool in tools if tool.get("idempotent")}

    def _authority_changed(self, entry: Json, body: Json) -> None:
        agent = self._agent(entry)
        if "OBSERVED" in (body["was"], body["now"]):
            self._observed(entry, body, agent)
        if agent.authority != body["was"] or body["epoch"] <= agent.epoch:
            self._say("I2", entry, f"goes from {body['was']}, it was {agent.authority}; epoch {agent.epoch}")
        if body["now"] == "SUSPENDED":
            agent.suspended_at, agent.suspended_mono, agent.suspended_by = entry["seq"], entry["mono_us"], body["by"]
            agent.suspensions.append((entry["seq"], None))
        elif agent.suspended_at is not None:
            self._released(entry, body, agent)
            agent.suspensions[-1] = (agent.suspended_at, entry["seq"])
            agent.suspended_at = agent.suspended_mono = None
        agent.authority, agent.epoch = body["now"], body["epoch"]
        self._due = [due for due in self._due if due[1] != entry["agent"]]

    def _observation(self, entry: Json, body: Json) -> None:
        agent, cited = self._agent(entry), self._cited_order(entry, {"agent.observe"})
        if agent.observed_until is not None or agent.authority != "REGISTERED":
            self._say("I2", entry, f"observes an agent that is {agent.authority}, or was observed before")
        if cited is not None and cited["person"] != agent.owner:
            self._say("I7", entry, f"is by {cited['person']}, not by the owner {agent.owner}")
        agent.observed_until = body["until_us"]

    def _observed(self, entry: Json, body: Json, agent: Agent) -> None:
        """OBSERVED begins with an order alone, and ends with one, on its date, or with a suspension."""
        if body["now"] == "OBSERVED":
            self._cited_order(entry, {"agent.observe"})
        elif body["by"] == "node":
            if _us(entry["at"]) < (agent.observed_until or 0):
                self._say("I2", entry, "ends an observation before its date")
        elif body["now"] not in ("SUSPENDED", "RESTRICTED", "RETIRED"):
            self._cited_order(entry, {"agent.govern"})

    def _released(self, entry: Json, body: Json, agent: Agent) -> None:
        broken = self._broken.pop(entry["agent"], None)
        if broken is not None and any(seq == broken for _, seq, _ in entry["refs"]) and body["now"] == "PROBATION":
            return  # by one alone: what that takes is looked at where the case is
        approved = self._cited_order(entry, {"release.approve"})
        proposer = self._proposals.get(body["incident"])
        if body["now"] != "PROBATION" or approved is None or proposer is None:
            self._say("I7", entry, "gives authority back without a proposal and an approval")
        elif approved["person"] in (proposer, (agent.suspended_by or "").removeprefix("person:")):
            self._say("I7", entry, f"was approved by {approved['person']}, who proposed it or suspended the agent")

    def _release_broken(self, entry: Json, body: Json) -> None:
        for _, seq, _ in entry["refs"]:
            if self._orders.get(seq, {"order": ""})["order"] == "release.break":
                self._broken[entry["agent"]] = seq

    def _release_proposed(self, entry: Json, body: Json) -> None:
        self._cited_order(entry, {"release.propose"})
        self._proposals[body["incident"]] = body["person"]

    # -- actions

    def _decision(self, entry: Json, body: Json) -> None:
        self.decisions[entry["seq"]] = entry
        agent = self._agent(entry)
        if entry["run"] is not None and body["verdict"] != "DENY":
            key = (entry["run"], body["call"])
            if key in self._calls and not self._may_again(entry, self._calls[key]):
                self._say("I2", entry, f"decides call {body['call']} a second time, after {self._calls[key]}")
            self._calls[key] = entry["seq"]
        self._governed(entry, body, agent)
        if body["verdict"] == "ALLOW":
            self._allowed(entry, body, agent)
        elif agent.authority != "UNREGISTERED" and body["clauses"]:
            self._unsignaled[entry["seq"]] = len(body["clauses"])

    def _may_again(self, entry: Json, first: int) -> bool:
        """D6: cut off by a death, of the same tool, and every contract of the chain says that twice does no harm."""
        tool = entry["body"]["tool"]
        ended = self.outcomes.get(first, {"body": {"state": None, "by": None}})["body"]
        dead = ended["state"] == "unknown" or (ended["by"], ended["state"]) == ("recovery", "interrupted_confirmed")
        if not dead or self.decisions[first]["body"]["tool"] != tool:
            return False
        working = [part.removeprefix("agent:") for part in entry["body"]["chain"] if part.startswith("agent:")]
        return all(tool in self.agents[name].harmless for name in working)

    def _governed(self, entry: Json, body: Json, agent: Agent) -> None:
        """Only an OBSERVED agent before its date is not governed, and only where Failwell has nothing against it."""
        loose = agent.authority == "OBSERVED" and _us(entry["at"]) < (agent.observed_until or 0)
        kept = any(clause["id"] in KEPT for clause in body["clauses"])
        handed = any(name.startswith("agent:") and name != f"agent:{entry['agent']}" for name in body["chain"])
        if _ungoverned(body) and (not loose or kept):
            self._say("I2", entry, f"is not governed; the agent is {agent.authority}")
        if loose and not kept and not handed and not _ungoverned(body):
            self._say("I2", entry, "counts as governed of an agent that is observed")

    def _allowed(self, entry: Json, body: Json, agent: Agent) -> None:
        self.within[entry["seq"]] = within = self._scopes(entry, body)
        if shut := sorted(scope for scope in within if self._stopped_by.get(scope)):
            self._say("I3", entry, f"allows within {shut[0]}, which is stopped")
        if body["errors"]:
            self._say("I4", entry, f"allows with errors: {body['errors']}")
        acting = GOVERNED | {"OBSERVED"}  # whether that may be is looked at above
        if agent.authority not in acting or body["authority"] != agent.authority:
            self._say("I3", entry, f"allows an agent that is {agent.authority}")
        if body["epoch"] != agent.epoch:
            self._say("I3", entry, f"allows at epoch {body['epoch']}, it is {agent.epoch}")
        if agent.contract is None or body["contract"] != agent.contract:
            self._say("I2", entry, f"allows by {body['contract']}, in force is {agent.contract}")
        if any(clause["then"] in ("deny", "escalate") for clause in body["clauses"]):
            self._say("I4", entry, "allows against a clause")
        if body.get("ticket") is not None:
            self._ticket_used(entry, body)

    # -- tickets

    def _ticket_opened(self, entry: Json, body: Json) -> None:
        asks = self.decisions.get(body["ticket"])
        if asks is None or asks["body"]["verdict"] != "ESCALATE" or not body["asked"]:
            self._say("I4", entry, "asks nobody, or about what is no ESCALATE")
        self._tickets[body["ticket"]] = {**body, "agent": entry["agent"], "until": None, "used": None}

    def _ticket_decided(self, entry: Json, body: Json) -> None:
        approves = body["answer"] == "approved"
        order = self._cited_order(entry, {"ticket.approve" if approves else "ticket.deny"})
        row = self._tickets.get(body["ticket"])
        if row is None or (order is not None and order["person"] != body["person"]):
            self._say("I7", entry, "answers what nobody asked, or for somebody else")
            return
        late = _us(entry["at"]) >= row["expires_us"]
        if approves and (late or row["until"] is not None or body["person"] not in row["asked"]):
            self._say("I7", entry, f"approves late, again, or by {body['person']}, who was not asked")
        row["until"] = body["expires_us"] if approves else 0

    def _ticket_expired(self, entry: Json, body: Json) -> None:
        row = self._tickets[body["ticket"]]
        if _us(entry["at"]) < (row["until"] or row["expires_us"]):
            self._say("I4", entry, "lets a ticket expire before its time")
        row["until"] = 0

    def _ticket_used(self, entry: Json, body: Json) -> None:
        row = self._tickets.get(body["ticket"])
        if row is None or not row["until"] or _us(entry["at"]) >= row["until"]:
            self._say("I4", entry, f"rests on ticket {body['ticket']}, which nobody approved, or not for so long")
            return
        before = self.outcomes.get(row["used"], {"body": {"state": None}})["body"]["state"]
        if row["used"] is not None and before != "blocked":
            self._say("I2", entry, f"uses ticket {body['ticket']} again, after {row['used']}")
        if [row[field] for field in ("agent", "tool", "arguments")] != [
            entry["agent"], body["tool"], body["arguments"]
        ]:  # fmt: skip
            self._say("I4", entry, f"uses ticket {body['ticket']} for another action")
        row["used"] = entry["seq"]

    # -- actions, once they were allowed

    def _must_be_allowed(self, entry: Json, decision: int) -> Json | None:
        found = self.decisions.get(decision)
        if found is None or not _may_run(found["body"]) or found["agent"] != entry["agent"]:
            self._say("I2", entry, f"is of {decision}, which is no earlier ALLOW of {entry['agent']}")
            return None
        return found

    def _started(self, entry: Json, body: Json) -> None:
        # Written behind: it may stand after a suspension, but never for an action decided after one.
        self._must_be_allowed(entry, body["decision"])

    def _outcome(self, entry: Json, body: Json) -> None:
        self._must_be_allowed(entry, body["decision"])
        if body["decision"] in self.outcomes:
            self._say("I2", entry, f"is a second outcome of {body['decision']}")
        self.outcomes[body["decision"]] = entry

    def _effect_witnessed(self, entry: Json, body: Json) -> None:
        if body["decision"] is not None:
            self._must_be_allowed(entry, body["decision"])

    # -- stopping

    def _signal(self, entry: Json, body: Json) -> None:
        if body["about"] in self._unsignaled:
            self._unsignaled[body["about"]] -= 1
        if entry["agent"] is None:
            return  # about a part of the workspace, or a report of which nobody knows the agent
        agent = self._agent(entry)
        stop = body["applied"] and "suspend" in body["response"]
        if stop and agent.authority not in ("SUSPENDED", "RETIRED"):
            self._due.append((entry["seq"], entry["agent"], body["signal"]))

    def _interrupt_ordered(self, entry: Json, body: Json) -> None:
        for action in body["actions"]:
            self.ordered.setdefault(action, entry["seq"])
            if action in self.outcomes:
                self._say("I8", entry, f"orders {action} to stop, which had ended")

    def _interrupt_confirmed(self, entry: Json, body: Json) -> None:
        self.ended[body["action"]] = "confirmed"

    def _interrupt_unconfirmed(self, entry: Json, body: Json) -> None:
        self.ended.setdefault(body["action"], "unconfirmed")

    # -- the end

    def close(self, at_rest: bool) -> None:
        say = self._report.findings.append
        for seq, agent, why in self._due:
            if self.agents[agent].authority not in ("SUSPENDED", "RETIRED"):
                say(f"I8: entry {seq} asks to suspend {agent} ({why}), and no entry does")
        for seq, missing in self._unsignaled.items():
            if missing > 0:
                say(f"I4: the denial {seq} is no signal")
        for action in self.ordered:
            state = self.outcomes.get(action, {"body": {"state": None}})["body"]["state"]
            if at_rest and action not in self.ended:
                say(f"I8: action {action} was ordered to stop; its stop is neither confirmed nor unconfirmed")
            if state == "interrupted_confirmed" and self.ended.get(action) != "confirmed":
                say(f"I8: the outcome of {action} says confirmed, no entry confirms it")


def _projections(report: Report, story: _Story, tables: dict[str, dict[Any, Json]]) -> None:
    """The rows that the node acts on say what the entries say."""
    for name, agent in story.agents.items():
        head = tables["head"].get(name)
        if head is None or (head["count"], head["last"]) != (agent.count, agent.last):
            report.findings.append(f"I6: the head of {name} is {head}")
        row = tables["agent"].get(name)
        if row is not None and (row["authority"], row["epoch"]) != (agent.authority, agent.epoch):
            report.findings.append(f"I6: the row of {name} says {row['authority']}, the entries {agent.authority}")
    for seq, entry in story.decisions.items():
        row = tables["action"].get(seq)
        settled = {"DENY": "denied", "ESCALATE": "escalated"}.get(entry["body"]["verdict"], "open")
        settled = "open" if _ungoverned(entry["body"]) else settled
        wanted = story.outcomes[seq]["body"]["state"] if seq in story.outcomes else settled
        if row is None or row["state"] != wanted:
            report.findings.append(f"I6: the row of action {seq} is {row and row['state']}, the entries say {wanted}")


def _witness(report: Report, story: _Story, runs: Sequence[Json]) -> None:
    """What the tool itself wrote down: each run had its ALLOW before it, none ran twice, none after a suspension."""
    began: dict[str, int] = {}
    for line in runs:
        if line["what"] != "began":
            continue
        marker = line["action"]
        began[marker] = began.get(marker, 0) + 1
        entry = story.decisions.get(int(marker.rsplit("/", 1)[1]))
        if entry is None or not _may_run(entry["body"]):
            report.findings.append(f"I2: the tool ran as {marker}, which is no ALLOW")
        elif entry["mono_us"] > line["boottime_us"]:
            report.findings.append(f"I2: the tool ran as {marker} before its decision")
        else:
            _after_fence(report, story, entry, line)
    for marker, count in began.items():
        if count > 1:
            report.findings.append(f"I2: the tool ran {count} times as {marker}")


def _after_fence(report: Report, story: _Story, entry: Json, line: Json) -> None:
    action = entry["seq"]
    stops = [stop for scope in story.within.get(action, ()) for stop in story.scope_stops.get(scope, ())]
    for suspended, released in (*story.agents[entry["agent"]].suspensions, *stops):
        mono = report.entries[suspended]["mono_us"]
        within = released is None or line["boottime_us"] < report.entries[released]["mono_us"]
        # What had passed the fence before it closed may reach its first instruction after; it was then told to stop.
        if line["boottime_us"] > mono and within and action not in story.ordered:
            report.findings.append(f"I3: the tool began as {line['action']} after the suspension at {suspended}")
