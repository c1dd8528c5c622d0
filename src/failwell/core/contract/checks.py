"""What the records of a contract must mean together: names, types, clauses, limits, signals, path.

Adopting a text and compiling stored bytes pass the same checks, so that a contract that never was a text is held to
the same rules. Errors keep it from being adopted; warnings say where a bound is weaker than a reader may think.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from difflib import get_close_matches

from failwell.core.contract import model
from failwell.core.contract.argument import Type, parse_type
from failwell.core.contract.expression import Reads
from failwell.core.contract.finding import Finding
from failwell.core.contract.judgment import RESERVED
from failwell.core.contract.policy import compile_policy
from failwell.core.contract.reader import Notes
from failwell.core.contract.signal import LONGEST_WINDOW_US, THEN_OF_VERB, expand_do, parse_signal
from failwell.core.errors import ContractError, InputError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?")
_RULE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
# ASCII alone: `payments.refund` with a Cyrillic letter must not look listed.
_TOOL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
# Lower case, since facts are keys of entries; a letter first, since Cedar's JSON gives names like __entity a meaning.
_ARGUMENT_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_SPIFFE = re.compile(r"spiffe://[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?(?:/[A-Za-z0-9._-]{1,128}){1,16}")
_PERSON = re.compile(r"(?:team:)?[a-z0-9][a-z0-9._@-]{0,127}")
_LABEL = re.compile(r"[a-z0-9_.-]{1,64}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_MAX_TEXT_LENGTH = 2000
_MAX_COUNT = 1_000_000_000
_MAX_PUBLIC_BYTES = 32_768
_BYTES_PER_CHARACTER = 6  # a control character is written \u0001

_Types = dict[str, tuple[Type, bool]]
_Path = tuple[str | int, ...]


def check(contract: model.Contract) -> tuple[Finding, ...]:
    """Return the findings on a contract that comes without its text."""
    notes = Notes("", f"{contract.contract} v{contract.version}")
    note_problems(contract, notes)
    return tuple(notes.findings)


def note_problems(contract: model.Contract, notes: Notes) -> None:
    """Note what is wrong or weak in `contract`; places come from the text that `notes` knows, if any."""
    checks = _Checks(contract, notes)
    checks.header()
    checks.tools()
    checks.rules()
    for number, clause in enumerate(contract.clauses):
        checks.clause(number, clause)
    for number, limit in enumerate(contract.limits):
        checks.limit(number, limit)
    checks.expressions()
    checks.response()
    checks.escalation()
    checks.size()


class _Checks:
    def __init__(self, contract: model.Contract, notes: Notes) -> None:
        self.contract = contract
        self.notes = notes
        #: Types by tool and argument, as far as they could be read.
        self.types: dict[str, _Types] = {}

    def error(self, path: _Path, problem: str, reason: str, mend: str, excerpt: str = "") -> None:
        self.notes.add("error", self.notes.place(*path), problem, reason, mend, excerpt)

    def warn(self, path: _Path, problem: str, reason: str, mend: str, excerpt: str = "") -> None:
        self.notes.add("warning", self.notes.place(*path), problem, reason, mend, excerpt)

    def _spelled(self, path: _Path, what: str, text: str | None, pattern: re.Pattern[str], like: str) -> None:
        if text is not None and not pattern.fullmatch(text):
            self.error(path, f"{what} is not well formed.", "It names things in the record.", f"Write it like {like}.")

    # ---- the head ----------------------------------------------------------------------------------------

    def header(self) -> None:
        contract = self.contract
        self._spelled(("contract",), "The contract's name", contract.contract, _NAME, "refund-bot")
        self._spelled(("owner",), "The owner", contract.owner, _NAME, "payments-owner")
        agent = _SPIFFE if contract.agent.startswith("spiffe:") else _NAME
        self._spelled(("agent",), "The agent", contract.agent, agent, "refund-bot or spiffe://shop.example/refund-bot")
        self._spelled(
            ("on_suspend", "unfinished_runs"), "Who gets unfinished runs", contract.unfinished_runs, _PERSON,
            "team:payments",
        )  # fmt: skip
        if not 1 <= contract.version <= _MAX_COUNT:
            self.error(("version",), "The version is out of range.", "Versions count from 1.", "Write version: 1.")
        if not 1 <= len(contract.purpose) <= _MAX_TEXT_LENGTH:
            self.error(
                ("purpose",), "The purpose is empty or too long.", f"It has {len(contract.purpose)} characters.",
                f"Say in 1 to {_MAX_TEXT_LENGTH} characters what the agent is for.",
            )  # fmt: skip
        for key, value in contract.applies_to.items():
            for text in (key, value):
                self._spelled(("applies_to", key), f"applies_to: {key}", text, _LABEL, "suite: banking")
        self._validity()

    def _validity(self) -> None:
        valid = self.contract.valid
        if valid is None:
            return
        for name, day in (("from", valid.since), ("until", valid.until)):
            if day is not None and not _is_day(day):
                self.error(
                    ("valid", name), f"valid: {name} is not a day.", f"It is {day!r}.", "Write it like 2026-11-01."
                )
                return
        if valid.since is not None and valid.until is not None and valid.since >= valid.until:
            self.error(
                ("valid",), "The contract is never valid.", "It ends (at the start of the day `until`) before it begins.",
                "Write a later day for until.",
            )  # fmt: skip

    def size(self) -> None:
        try:
            model.to_canonical(self.contract)
        except ContractError as error:
            self.error((), "The contract is too large.", f"{error.message}.", "Split it, or shorten its texts.")

    # ---- tools -------------------------------------------------------------------------------------------

    def tools(self) -> None:
        if not self.contract.tools:
            self.error(("tools",), "No tool is listed.", "What is not listed is denied.", "List the agent's tools.")
        for number, tool in enumerate(self.contract.tools):
            path: _Path = ("tools", number)
            if tool.tool in self.types:
                self.error((*path, "tool"), f"{tool.tool} is listed twice.", "Only one could apply.", "Keep one.")
            self.types[tool.tool] = self._types(path, tool)
            self._tool(path, tool, self.types[tool.tool])

    def _types(self, path: _Path, tool: model.Tool) -> _Types:
        types: _Types = {}
        for argument in tool.arguments:
            place = (*path, "arguments", f"{argument.name}{'?' if argument.optional else ''}")
            what = f"{tool.tool}: argument {argument.name}"
            self._spelled(place, what, argument.name, _ARGUMENT_NAME, "order_id")
            if argument.name in types:
                self.error(place, f"{what} is declared twice.", "It is optional or not.", "Keep one of the two.")
            try:
                types[argument.name] = (parse_type(argument.type), argument.optional)
            except InputError as error:
                self.error(place, f"{what} has no usable type.", f"{error.message}.", error.hint or "")
        return types

    def _tool(self, path: _Path, tool: model.Tool, types: _Types) -> None:
        self._spelled((*path, "tool"), f"The tool name {tool.tool!r}", tool.tool, _TOOL_NAME, "payments.refund")
        self._spelled((*path, "witness"), f"{tool.tool}: witness", tool.witness, _NAME, "payments-log")
        if tool.deadline_us is not None and tool.deadline_us <= 0:
            self.error((*path, "deadline"), f"{tool.tool}: no time at all.", "It could never run.", "Write 10s.")
        used = [("public", name) for name in tool.public]
        if tool.affects is not None:
            fields = (tool.affects.customer, tool.affects.resource, tool.affects.amount)
            used += [("affects", name) for name in fields if name is not None]
        declared = {argument.name for argument in tool.arguments}
        for field, name in used:
            if name not in declared:
                mend = _meant(name, declared) or "Declare it, or name another one."
                self.error((*path, field), f"{tool.tool}: {field} names {name}.", "It is not an argument.", mend)
            elif name in types and types[name][0].cedar is None:
                reason = f"{name} is {types[name][0].text}: opaque, never a fact."
                self.error((*path, field), f"{tool.tool}: {field} names {name}.", reason, "Declare a typed argument.")
        self._public(path, tool, types)
        self._weak(path, tool)

    def _public(self, path: _Path, tool: model.Tool, types: _Types) -> None:
        total = 0
        for name in tool.public:
            longest = types[name][0].longest if name in types else 0
            if longest is None:
                self.error(
                    (*path, "public"), f"{tool.tool}: {name} cannot be public.", "It has no greatest length.",
                    'Declare one, such as "string(0..200)".',
                )  # fmt: skip
            total += longest or 0
        if total * _BYTES_PER_CHARACTER > _MAX_PUBLIC_BYTES:
            self.error(
                (*path, "public"), f"{tool.tool}: the public facts may not fit.", "An entry has 65,535 bytes.",
                f"Declare shorter ones: {_MAX_PUBLIC_BYTES // _BYTES_PER_CHARACTER} characters together.",
            )  # fmt: skip

    def _weak(self, path: _Path, tool: model.Tool) -> None:
        acts = tool.effect != "read"
        if tool.deadline_us is None and acts:
            self.warn(
                path, f"{tool.tool} has no deadline.", "How long containment takes has no bound.", "Add deadline: 10s."
            )
        if tool.witness is None and acts:
            self.warn(
                path, f"{tool.tool} has no witness.", "What goes round the gate is not noticed.", "Name its own log."
            )
        if tool.custody == "none":
            self.warn(
                path, f"{tool.tool} is advisory.", "With custody none the agent can call it without asking.",
                "Give its credential to a broker or close the network.",
            )  # fmt: skip
        bounded = any(tool.tool in rule.tools for rule in (*self.contract.clauses, *self.contract.limits))
        if tool.effect == "irreversible" and not bounded:
            self.warn(
                path, f"{tool.tool} is irreversible and unbounded.", "No clause and no limit is about it.",
                "Add a clause or a limit.",
            )  # fmt: skip

    # ---- clauses and limits ------------------------------------------------------------------------------

    def rules(self) -> None:
        """Ids, tools and texts that clauses and limits have in common."""
        seen: set[str] = set()
        for path, what, rule in self._numbered_rules():
            self._spelled((*path, "id"), f"The id of {what}", rule.id, _RULE_ID, "refund-ceiling")
            if rule.id in seen or rule.id in RESERVED:
                self.error((*path, "id"), f"The id {rule.id} is taken.", "Ids stand in verdicts.", "Choose another id.")
            seen.add(rule.id)
            if rule.because is not None and not 1 <= len(rule.because) <= _MAX_TEXT_LENGTH:
                self.error((*path, "because"), f"{what}: because is empty or too long.", "People read it.", "Shorten it.")
            if not rule.tools or len(set(rule.tools)) != len(rule.tools):
                self.error(path, f"{what} names no tool, or one twice.", "It would not be clear.", "Name each once.")
            for tool in rule.tools:
                if tool not in self.types:
                    mend = _meant(tool, self.types) or "List the tool, or drop the rule."
                    self.error(path, f"{what} names {tool}.", "The tool is not listed.", mend)

    def _numbered_rules(self) -> Iterable[tuple[_Path, str, model.Clause | model.Limit]]:
        for number, clause in enumerate(self.contract.clauses):
            yield ("clauses", number), f"clause {clause.id}", clause
        for number, limit in enumerate(self.contract.limits):
            yield ("limits", number), f"limit {limit.id}", limit

    def clause(self, number: int, clause: model.Clause) -> None:
        """Bounds of one clause that its records do not show."""
        if clause.when is None or "context.novel" not in clause.when or "context.baseline" in clause.when:
            return
        self.warn(
            ("clauses", number, "when"), f"clause {clause.id} sleeps until a baseline is locked.",
            "Until then context.novel is empty.", 'Add: || context.baseline != "locked".', clause.when,
        )  # fmt: skip

    def limit(self, number: int, limit: model.Limit) -> None:
        """Numbers, period and keys of one limit."""
        path: _Path = ("limits", number)
        what = f"limit {limit.id}"
        counts = limit.kind == "count"
        if not 1 <= limit.at_most <= _MAX_COUNT or (not counts and limit.at_most != 1):
            self.error((*path, "at_most"), f"{what}: at_most is out of range.", "It counts actions.", "Write 1 or more.")
        if limit.per_us < 0 or (counts and limit.per_us == 0):
            self.error((*path, "per"), f"{what} has no period.", "A rate needs one.", "Add per: 1h.")
        if counts == bool(limit.keys) or len(set(limit.keys)) != len(limit.keys):
            self.error(path, f"{what}: keys are missing, repeated or out of place.", "once_per is per keys.", "Mend keys.")
        for tool in limit.tools:
            types = self.types.get(tool, {})
            for key in limit.keys:
                if key not in types:
                    mend = _meant(key, types) or "Name a declared argument."
                    self.error((*path, "keys"), f"{what} is kept per {key}.", f"{tool} has no such argument.", mend)
                elif types[key][0].cedar is None:
                    reason = f"{tool}: {key} is {types[key][0].text}, which has no value to compare."
                    self.error((*path, "keys"), f"{what} is kept per {key}.", reason, "Name a typed argument.")

    def expressions(self) -> None:
        """Compile the clauses of every tool and place what Cedar and the analysis say."""
        if any(finding.level == "error" for finding in self.notes.findings):
            return  # what follows from a wrong type or name would only hide it
        numbers = {clause.id: number for number, clause in enumerate(self.contract.clauses)}
        for tool, types in self.types.items():
            clauses = tuple(clause for clause in self.contract.clauses if tool in clause.tools)
            _, reads, unsound = compile_policy(self.contract.agent, tool, clauses, types)
            for clause in clauses:
                path: _Path = ("clauses", numbers[clause.id], "when")
                if (error := unsound.get(clause.id)) is not None:
                    reason, mend = f"{error.message.rstrip('.')}.", error.hint or ""
                    self.error(path, f"clause {clause.id} could fail.", reason, mend, clause.when or "")
                else:
                    self._reach(path, clause, tool, reads[clause.id])

    def _reach(self, path: _Path, clause: model.Clause, tool: str, reads: Reads) -> None:
        if not reads.holds.possible:
            self.warn(
                path, f"clause {clause.id} never holds for {tool}.", "No declared value reaches it.",
                "Compare with the declared ranges (amounts are in the smallest unit).", clause.when or "",
            )  # fmt: skip

    # ---- response and escalation -------------------------------------------------------------------------

    def response(self) -> None:
        then_of = {rule.id: rule.then for _, _, rule in self._numbered_rules()}
        for number, rule in enumerate(self.contract.response):
            path: _Path = ("response", number)
            if not rule.do or rule.do != expand_do(rule.do):
                self.error((*path, "do"), "A response rule does nothing.", "Its words are missing.", "Write do: [record].")
            windowless = rule.within_us == 0 and rule.at_least != 1
            if rule.at_least < 1 or windowless or not 0 <= rule.within_us <= LONGEST_WINDOW_US:
                self.error((*path, "signal"), "A response rule counts nothing.", "Its window is off.", "Write >= 3 in 10m.")
            try:
                signal = parse_signal(rule.signal)
            except InputError as error:
                self.error((*path, "signal"), "A signal is not known.", f"{error.message}.", error.hint or "")
                continue
            if signal.about is None or signal.about in RESERVED:
                continue
            then = then_of.get(signal.about)
            if then is None:
                mend = _meant(signal.about, then_of) or "Name a clause or limit of this contract."
                self.error((*path, "signal"), f"{signal.name} is never raised.", "There is no such id.", mend)
            elif then != THEN_OF_VERB[signal.verb]:
                verb = next(verb for verb, word in THEN_OF_VERB.items() if word == then)
                reason = f"{signal.about} decides {then}."
                self.error((*path, "signal"), f"{signal.name} is never raised.", reason, f"Write {verb}({signal.about}).")

    def escalation(self) -> None:
        for number, step in enumerate(self.contract.escalation):
            if step.notify != "owner" or step.by != ("email",):
                self.error(
                    ("escalation", number), "This step of the escalation path is not enforced yet.",
                    "This version tells the owner by e-mail.", "Write {notify: owner, by: [email]}.",
                )  # fmt: skip
        if len(self.contract.escalation) > 1:
            self.error(("escalation", 1), "There is a second step.", "This version has one.", "Leave it out.")


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        return date.fromisoformat(text).year >= 1970
    except ValueError:
        return False


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1, 0.6)
    return f"Did you mean {close[0]}?" if close else ""
