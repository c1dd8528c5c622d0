"""What the records of a contract must mean together: names, types, clauses, limits, signals, path.

Adopting a text and compiling stored bytes pass the same checks, so that a contract that never was a text
is held to the same rules. Errors keep it from being adopted; warnings say where a bound is weaker than a
reader may think.
"""

from __future__ import annotations

import re
from datetime import date

from failwell.core.contract import model
from failwell.core.contract.argument import parse_type
from failwell.core.contract.finding import Finding
from failwell.core.contract.reader import Notes
from failwell.core.contract.rule_checks import RuleChecks
from failwell.core.contract.scope import MAX_COUNT, MAX_TEXT_LENGTH, Path, Scope, Types, meant
from failwell.core.errors import ContractError, InputError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?")
# ASCII alone: `payments.refund` with a Cyrillic letter must not look listed.
_TOOL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
# Lower case, since facts are keys of entries; a letter first, since Cedar's JSON gives names like __entity
# a meaning.
_ARGUMENT_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_SPIFFE = re.compile(r"spiffe://[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?(?:/[A-Za-z0-9._-]{1,128}){1,16}")
_PERSON = re.compile(r"(?:team:)?[a-z0-9][a-z0-9._@-]{0,127}")
_LABEL = re.compile(r"[a-z0-9_.-]{1,64}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_MAX_PUBLIC_BYTES = 32_768
_BYTES_PER_CHARACTER = 6  # a control character is written \u0001


def check(contract: model.Contract) -> tuple[Finding, ...]:
    """Return the findings on a contract that comes without its text."""
    notes = Notes("", f"{contract.contract} v{contract.version}")
    note_problems(contract, notes)
    return tuple(notes.findings)


def note_problems(contract: model.Contract, notes: Notes) -> None:
    """Note what is wrong or weak in `contract`; places come from the text that `notes` knows, if any."""
    types: dict[str, Types] = {}
    whole = _Whole(contract, notes, types)
    whole.header()
    whole.tools()
    RuleChecks(contract, notes, types).all()
    whole.escalation()
    whole.size()


class _Whole(Scope):
    """The head, the tools and the path of escalation."""

    # ---- the head ----------------------------------------------------------------------------------------

    def header(self) -> None:
        contract = self.contract
        self.spelled(("contract",), "The contract's name", contract.contract, _NAME, "refund-bot")
        self.spelled(("owner",), "The owner", contract.owner, _NAME, "payments-owner")
        agent = _SPIFFE if contract.agent.startswith("spiffe:") else _NAME
        self.spelled(("agent",), "The agent", contract.agent, agent, "refund-bot or spiffe://shop.example/refund-bot")
        self.spelled(
            ("on_suspend", "unfinished_runs"),
            "Who gets unfinished runs",
            contract.unfinished_runs,
            _PERSON,
            "team:payments",
        )
        if not 1 <= contract.version <= MAX_COUNT:
            self.error(("version",), "The version is out of range.", "Versions count from 1.", "Write version: 1.")
        if not 1 <= len(contract.purpose) <= MAX_TEXT_LENGTH:
            self.error(
                ("purpose",),
                "The purpose is empty or too long.",
                f"It has {len(contract.purpose)} characters.",
                f"Say in 1 to {MAX_TEXT_LENGTH} characters what the agent is for.",
            )
        for key, value in contract.applies_to.items():
            for text in (key, value):
                self.spelled(("applies_to", key), f"applies_to: {key}", text, _LABEL, "suite: banking")
        self._validity()

    def _validity(self) -> None:
        valid = self.contract.valid
        if valid is None:
            return
        for name, day in (("from", valid.since), ("until", valid.until)):
            if day is not None and not _is_day(day):
                self.error(
                    ("valid", name),
                    f"valid: {name} is not a day.",
                    f"It is {day!r}.",
                    "Write it like 2026-11-01.",
                )
                return
        if valid.since is not None and valid.until is not None and valid.since >= valid.until:
            self.error(
                ("valid",),
                "The contract is never valid.",
                "It ends (at the start of the day `until`) before it begins.",
                "Write a later day for until.",
            )

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
            path: Path = ("tools", number)
            if tool.tool in self.types:
                self.error((*path, "tool"), f"{tool.tool} is listed twice.", "Only one could apply.", "Keep one.")
            self.types[tool.tool] = self._types(path, tool)
            self._tool(path, tool, self.types[tool.tool])

    def _types(self, path: Path, tool: model.Tool) -> Types:
        types: Types = {}
        for argument in tool.arguments:
            place = (*path, "arguments", f"{argument.name}{'?' if argument.optional else ''}")
            what = f"{tool.tool}: argument {argument.name}"
            self.spelled(place, what, argument.name, _ARGUMENT_NAME, "order_id")
            if argument.name in types:
                self.error(place, f"{what} is declared twice.", "It is optional or not.", "Keep one of the two.")
            try:
                types[argument.name] = (parse_type(argument.type), argument.optional)
            except InputError as error:
                self.error(place, f"{what} has no usable type.", f"{error.message}.", error.hint or "")
        return types

    def _tool(self, path: Path, tool: model.Tool, types: Types) -> None:
        self.spelled((*path, "tool"), f"The tool name {tool.tool!r}", tool.tool, _TOOL_NAME, "payments.refund")
        self.spelled((*path, "witness"), f"{tool.tool}: witness", tool.witness, _NAME, "payments-log")
        if tool.deadline_us is not None and tool.deadline_us <= 0:
            self.error((*path, "deadline"), f"{tool.tool}: no time at all.", "It could never run.", "Write 10s.")
        used = [("public", name) for name in tool.public]
        if tool.affects is not None:
            fields = (tool.affects.customer, tool.affects.resource, tool.affects.amount)
            used += [("affects", name) for name in fields if name is not None]
        declared = {argument.name for argument in tool.arguments}
        for field, name in used:
            if name not in declared:
                mend = meant(name, declared) or "Declare it, or name another one."
                self.error((*path, field), f"{tool.tool}: {field} names {name}.", "It is not an argument.", mend)
            elif name in types and types[name][0].cedar is None:
                reason = f"{name} is {types[name][0].text}: opaque, never a fact."
                self.error((*path, field), f"{tool.tool}: {field} names {name}.", reason, "Declare a typed argument.")
        self._public(path, tool, types)
        self._weak(path, tool)

    def _public(self, path: Path, tool: model.Tool, types: Types) -> None:
        total = 0
        for name in tool.public:
            longest = types[name][0].longest if name in types else 0
            if longest is None:
                self.error(
                    (*path, "public"),
                    f"{tool.tool}: {name} cannot be public.",
                    "It has no greatest length.",
                    'Declare one, such as "string(0..200)".',
                )
            total += longest or 0
        if total * _BYTES_PER_CHARACTER > _MAX_PUBLIC_BYTES:
            self.error(
                (*path, "public"),
                f"{tool.tool}: the public facts may not fit.",
                "An entry has 65,535 bytes.",
                f"Declare shorter ones: {_MAX_PUBLIC_BYTES // _BYTES_PER_CHARACTER} characters together.",
            )

    def _weak(self, path: Path, tool: model.Tool) -> None:
        acts = tool.effect != "read"
        if tool.deadline_us is None and acts:
            self.warn(
                path,
                f"{tool.tool} has no deadline.",
                "How long containment takes has no bound.",
                "Add deadline: 10s.",
            )
        if tool.witness is None and acts:
            self.warn(
                path,
                f"{tool.tool} has no witness.",
                "What goes round the gate is not noticed.",
                "Name its own log.",
            )
        if tool.custody == "none":
            self.warn(
                path,
                f"{tool.tool} is advisory.",
                "With custody none the agent can call it without asking.",
                "Give its credential to a broker or close the network.",
            )
        rules: tuple[model.Clause | model.Limit, ...] = (*self.contract.clauses, *self.contract.limits)
        bounded = any(tool.tool in rule.tools for rule in rules)
        if tool.effect == "irreversible" and not bounded:
            self.warn(
                path,
                f"{tool.tool} is irreversible and unbounded.",
                "No clause and no limit is about it.",
                "Add a clause or a limit.",
            )

    # ---- the path and the size ---------------------------------------------------------------------------

    def escalation(self) -> None:
        for number, step in enumerate(self.contract.escalation):
            if step.notify != "owner" or step.by != ("email",):
                self.error(
                    ("escalation", number),
                    "This step of the escalation path is not enforced yet.",
                    "This version tells the owner by e-mail.",
                    "Write {notify: owner, by: [email]}.",
                )
        if len(self.contract.escalation) > 1:
            self.error(("escalation", 1), "There is a second step.", "This version has one.", "Leave it out.")


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        return date.fromisoformat(text).year >= 1970
    except ValueError:
        return False
