"""Whether the tools of a contract make sense: arguments, facts, checks of the world; and where they are weak."""

from __future__ import annotations

import re
from collections.abc import Sequence

from failwell.core.contract import model
from failwell.core.contract.argument import Mismatch, Type, parse_type
from failwell.core.contract.casing import in_words
from failwell.core.contract.looking import fact_name
from failwell.core.contract.nearest import meant
from failwell.core.contract.scope import NAME, PERSON, Path, Scope, Types, acts, is_told_to_a_person
from failwell.core.errors import InputError
from failwell.core.fact_keys import ARGUMENT_NAME, ASKED_NAME

# ASCII alone: `payments.refund` with a Cyrillic letter must not look listed.
TOOL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
_SOURCE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")

MAX_ASKED = 8
_DAY_US = 86_400_000_000
SECOND_US = 1_000_000
LONGEST_UNDOING_US = 3600 * SECOND_US
_LONGEST_WITHIN_US = 31 * _DAY_US
_LONGEST_CONTEST_US = 3650 * _DAY_US

_MAX_PUBLIC_BYTES = 32_768
_BYTES_PER_CHARACTER = 6  # a control character is written \u0001

#: Names that are about a person, whatever the type says.
_PERSONAL = re.compile(
    r"(?:.*[_-])?(?:(?:first|last|full|family|given|user|person|patient|holder)[_-]?name|surname|e?mail|iban|phone|"
    r"mobile|address|street|birthday|birthdate|passport|ssn)|name|customer.*"
)


class ToolChecks(Scope):
    """The tools of one contract under check."""

    def all(self) -> None:
        """Note everything about the tools; fills in `types`."""
        if not self.contract.tools:
            self.error(("tools",), "No tool is listed.", "What is not listed is denied.", "List the agent's tools.")
        for number, tool in enumerate(self.contract.tools):
            path: Path = ("tools", number)
            if tool.tool in self.types:
                self.error((*path, "tool"), f"{tool.tool} is listed twice.", "Only one could apply.", "Keep one.")
            types = self.types[tool.tool] = self._types(path, tool)
            self._named(path, tool, types)
            self._asked(path, tool, types, "facts", tool.facts)
            self._asked(path, tool, types, "ensure", tool.ensure)
            for ensure in tool.ensure:
                self._expected((*path, "ensure", ensure.name), f"{tool.tool}: ensure {ensure.name}", ensure)
            self._undone(path, tool)
            self._public(path, tool, types)
            self._told(path, tool)
            self._weak(path, tool)

    def _types(self, path: Path, tool: model.Tool) -> Types:
        types: Types = {}
        seen: dict[str, str] = {}
        for argument in tool.arguments:
            place = (*path, "arguments", f"{argument.name}{'?' if argument.optional else ''}")
            what = f"{tool.tool}: argument {argument.name}"
            self.spelled(place, what, argument.name, ARGUMENT_NAME, "order_id or orderId")
            if argument.name in types:
                self.error(place, f"{what} is declared twice.", "It is optional or not.", "Keep one of the two.")
            alike = seen.setdefault(argument.name.lower(), argument.name)
            if alike != argument.name:
                reason = f"It differs from {alike} in capital letters only."
                self.error(place, f"{what} reads like another one.", reason, "Keep one of the two.")
            of = self._type(place, what, argument.type)
            if of is not None:
                types[argument.name] = (of, argument.optional)
        return types

    def _type(self, place: Path, what: str, text: str) -> Type | None:
        try:
            return parse_type(text)
        except InputError as error:
            self.error(place, f"{what} has no usable type.", f"{error.message}.", error.hint or "")
            return None

    def _named(self, path: Path, tool: model.Tool, types: Types) -> None:
        self.spelled((*path, "tool"), f"The tool name {tool.tool!r}", tool.tool, TOOL_NAME, "payments.refund")
        self.spelled((*path, "witness"), f"{tool.tool}: witness", tool.witness, NAME, "payments-log")
        if tool.deadline_us is not None and tool.deadline_us <= 0:
            self.error((*path, "deadline"), f"{tool.tool}: no time at all.", "It could never run.", "Write 10s.")
        used = [("subject", tool.subject)] if tool.subject is not None else []
        if tool.affects is not None:
            fields = (tool.affects.customer, tool.affects.resource, tool.affects.amount)
            used += [("affects", name) for name in fields if name is not None]
        for field, name in used:
            self._argument((*path, field), f"{tool.tool}: {field}", name, types, tool.arguments)

    def _argument(
        self, place: Path, what: str, name: str, types: Types, declared: Sequence[model.Argument]
    ) -> Type | None:
        """The type of a declared argument that can be a fact; noted where it is none."""
        known = {argument.name for argument in declared}
        if name not in known:
            mend = meant(name, known) or "Declare it, or name another one."
            self.error(place, f"{what} names {name}.", "It is not an argument.", mend)
        elif name in types and types[name][0].cedar is None:
            reason = f"{name} is {types[name][0].text}: opaque, never a fact."
            self.error(place, f"{what} names {name}.", reason, "Declare a typed argument.")
        else:
            return types[name][0] if name in types else None
        return None

    # ---- what the gate asks ------------------------------------------------------------------------------

    def _asked(
        self, path: Path, tool: model.Tool, types: Types, field: str, asked: Sequence[model.Lookup | model.Ensure]
    ) -> None:
        """Names, sources, arguments and answers of `facts` or `ensure`."""
        if len(asked) > MAX_ASKED:
            reason = "Each is a question to a source while somebody waits."
            self.error((*path, field), f"{tool.tool} has {len(asked)} {field}.", reason, f"Keep {MAX_ASKED}.")
        seen: set[str] = set()
        for ask in asked:
            place: Path = (*path, field, ask.name)
            what = f"{tool.tool}: {'fact' if field == 'facts' else field} {ask.name}"
            self.spelled(place, what, ask.name, ASKED_NAME, "paid")
            self.spelled((*place, "lookup"), f"{what}: lookup", ask.lookup, _SOURCE, "orders.paid_amount")
            if ask.name in seen:
                self.error(place, f"{what} is declared twice.", "Only one could be asked.", "Keep one of the two.")
            seen.add(ask.name)
            if len(set(ask.given)) != len(ask.given):
                self.error((*place, "with"), f"{what}: with names one twice.", "It is told once.", "Keep one.")
            for name in ask.given:
                self._argument((*place, "with"), f"{what}: with", name, types, tool.arguments)
            of = self._type((*place, "type"), what, ask.type)
            if of is not None and of.cedar is None:
                reason = f"{of.text} is opaque: no answer could be judged."
                self.error((*place, "type"), f"{what} has no usable type.", reason, "Declare what the answer is.")

    def _expected(self, place: Path, what: str, ensure: model.Ensure) -> None:
        try:
            parse_type(ensure.type).read(ensure.expected)
        except Mismatch as mismatch:
            reason = f"What it must be is {mismatch.message}: it would never hold."
            self.error((*place, "is"), f"{what} can only be missed.", reason, f"Write a value of {ensure.type}.")
        except InputError:
            pass  # the type itself is wrong, which is told at its own place
        if not 1 <= ensure.within_us <= _LONGEST_WITHIN_US:
            self.error((*place, "within"), f"{what}: within is out of range.", "1s to 31d.", "Write within: 30s.")

    def _undone(self, path: Path, tool: model.Tool) -> None:
        """The step that undoes: a tool's name, another tool, and an end to it."""
        step = tool.compensate
        if step is None:
            return
        place: Path = (*path, "compensate")
        self.spelled(place, f"{tool.tool}: compensate", step.tool, TOOL_NAME, "payments.cancel")
        if step.tool == tool.tool:
            self.error(place, f"{tool.tool} undoes itself.", "It would do it a second time.", "Name another tool.")
        if not SECOND_US <= step.within_us <= LONGEST_UNDOING_US:
            reason = "Somebody waits to hear what became of it: 1s to 1h."
            self.error((*place, "within"), f"{tool.tool}: within is out of range.", reason, "Write within: 30s.")
        if not acts(tool):
            reason = "It changes nothing that could be undone."
            self.warn(place, f"{tool.tool} is undone without need.", reason, "Leave compensate out.")

    # ---- what is shown, and to whom ----------------------------------------------------------------------

    def _public(self, path: Path, tool: model.Tool, types: Types) -> None:
        total = 0
        place: Path = (*path, "public")
        looked = {fact_name(name): of for name, of in self.looked.get(tool.tool, {}).items()}
        facts = {fact_name(ask.name) for ask in tool.facts}
        for name in tool.public:
            if name in facts:
                of = looked.get(name)
            elif name.startswith(fact_name("")):
                mend = meant(name, facts) or "Declare it under facts, or leave it out."
                self.error(place, f"{tool.tool}: public names {name}.", "It is not a fact of this tool.", mend)
                continue
            else:
                of = self._argument(place, f"{tool.tool}: public", name, types, tool.arguments)
            if of is None or of.cedar is None:
                continue
            if of.longest is None:
                mend = 'Declare one, such as "string(0..200)".'
                self.error(place, f"{tool.tool}: {name} cannot be public.", "It has no greatest length.", mend)
            total += of.longest or 0
            self._personal(place, tool, name, of)
        if total * _BYTES_PER_CHARACTER > _MAX_PUBLIC_BYTES:
            self.error(
                place,
                f"{tool.tool}: the public facts may not fit.",
                "An entry has 65,535 bytes.",
                f"Declare shorter ones: {_MAX_PUBLIC_BYTES // _BYTES_PER_CHARACTER} characters together.",
            )

    def _personal(self, place: Path, tool: model.Tool, name: str, of: Type) -> None:
        """Attack on people: what is public stays in the record for ever; it can be erased only where it is sealed."""
        customer = None if tool.affects is None else tool.affects.customer
        typed = any(word in of.text for word in ("email", "iban"))
        if typed or name in (tool.subject, customer) or _PERSONAL.fullmatch(in_words(name.removeprefix(fact_name("")))):
            self.warn(
                place,
                f"{tool.tool}: {name} is public and looks personal.",
                "What is public can never be erased.",
                "Leave it out of public: it is sealed apart, and can be erased.",
            )

    def _told(self, path: Path, tool: model.Tool) -> None:
        """R1: an output or a decision given to a person is an action like any other, and names that person."""
        to_person, decides = is_told_to_a_person(tool.tool)
        if to_person and tool.subject is None:
            mend = "Add subject: the argument that names the person."
            self.error(path, f"{tool.tool} names no subject.", "It is given to a person, and about one.", mend)
        if decides and tool.contest is None:
            mend = 'Add contest: {to: "payments-owner", within: 30d}.'
            self.error(path, f"{tool.tool} cannot be contested.", "Who is decided about can object.", mend)
        if tool.contest is not None:
            self.spelled((*path, "contest", "to"), f"{tool.tool}: contest", tool.contest.to, PERSON, "payments-owner")
            if not _DAY_US <= tool.contest.within_us <= _LONGEST_CONTEST_US:
                reason = "Nobody objects within hours."
                self.error((*path, "contest"), f"{tool.tool}: contest is too short.", reason, "Write within: 30d.")
            if tool.subject is None and not to_person:
                reason = "Nobody is named who could object."
                self.error((*path, "contest"), f"{tool.tool}: contest without a subject.", reason, "Name its subject.")

    # ---- what is weak ------------------------------------------------------------------------------------

    def _weak(self, path: Path, tool: model.Tool) -> None:
        if tool.deadline_us is None and acts(tool):
            reason = "How long containment takes has no bound."
            self.warn(path, f"{tool.tool} has no deadline.", reason, "Add deadline: 10s.")
        if tool.witness is None and not tool.ensure and acts(tool):
            reason = "What goes round the gate, or goes wrong, is not noticed."
            self.warn(path, f"{tool.tool} has no witness and no ensure.", reason, "Name its own log.")
        if tool.custody == "none":
            self.warn(
                path,
                f"{tool.tool} is advisory.",
                "With custody none the agent can call it without asking.",
                "Give its credential to a broker or close the network.",
            )
        if tool.effect != "irreversible":
            return
        every: tuple[model.Clause | model.Limit, ...] = (*self.contract.clauses, *self.contract.limits)
        rules = [rule for rule in every if self.bounds(rule, tool)]
        if not rules:
            reason = "No clause and no limit is about it."
            self.warn(path, f"{tool.tool} is irreversible and unbounded.", reason, "Add a clause or a limit.")
        elif tool.executor in ("unstoppable", "cooperative") and not any(rule.then == "escalate" for rule in rules):
            reason = f"It is irreversible and {tool.executor}, and no clause or limit ever asks a person."
            self.warn(path, f"{tool.tool} cannot be stopped.", reason, "Add a clause or limit that escalates.")
