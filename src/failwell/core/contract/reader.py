"""A contract's text to its records: every field known, every unknown one refused with the word that was
meant.

Fields of the format that this version does not enforce are refused by name. Accepting and ignoring them
would fail open: the owner would believe in a bound that nobody keeps. What the records mean together is
`check` in `checks.py`.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, get_args

from failwell.core.contract import model
from failwell.core.contract.document import Node
from failwell.core.contract.duration import parse_duration
from failwell.core.contract.finding import Finding, Level
from failwell.core.contract.signal import DO_WORDS, expand_do, parse_signal
from failwell.core.errors import InputError

_LATER = "This version does not enforce it, and a bound that nobody keeps is worse than none."
_CONTRACT_LATER = ("baseline", "oversight")
_TOOL_LATER = ("compensate", "ensure", "facts")
_STEP_LATER = ("ack_within", "last_resort", "repeat", "require")


class Notes:
    """Collects findings about one text. Knows its lines, so that each finding shows what stands there."""

    def __init__(self, text: str, name: str, root: Node | None = None) -> None:
        self.name = name
        self.root = root
        self.findings: list[Finding] = []
        self._lines = text.split("\n")

    def add(self, level: Level, node: Node | None, problem: str, reason: str, mend: str, excerpt: str = "") -> None:
        """Note one finding at `node` (None: the contract has no text)."""
        line, column = (0, 0) if node is None else (node.line, node.column)
        self.add_at(level, line, column, problem, reason, mend, excerpt)

    def add_at(
        self, level: Level, line: int, column: int, problem: str, reason: str, mend: str, excerpt: str = ""
    ) -> None:
        """Note one finding at a line and column (from 1; 0: nowhere)."""
        if not excerpt and 0 < line <= len(self._lines):
            excerpt = self._lines[line - 1].strip()
        self.findings.append(
            Finding(
                level=level,
                line=line,
                column=column,
                problem=problem,
                reason=reason,
                mend=mend,
                name=self.name,
                excerpt=excerpt,
            )
        )

    def error(self, node: Node | None, problem: str, reason: str, mend: str) -> None:
        """Note what keeps the contract from being adopted."""
        self.add("error", node, problem, reason, mend)

    def place(self, *path: str | int) -> Node | None:
        """Return the node at `path`, or the nearest one above it that was written."""
        node = self.root
        for step in path:
            if node is None:
                return None
            below = node.get(step) if isinstance(step, str) else dict(enumerate(node.items)).get(step)
            if below is None:
                return node
            node = below
        return node


class _Fields:
    """The fields of one mapping; each getter takes its field, notes what is wrong with it and gives a
    stand-in."""

    def __init__(
        self, notes: Notes, node: Node, what: str, known: tuple[str, ...], later: tuple[str, ...] = ()
    ) -> None:
        self.notes = notes
        self.node = node
        self.what = what
        if node.kind != "mapping":
            notes.error(node, f"{what} is not a mapping.", f"It is {_a(node.kind)}.", "Write fields: `name: value`.")
        for name, value in node.members:
            if name in later:
                notes.error(value, f'{what}: "{name}" is not enforced yet.', _LATER, "Leave it out.")
            elif name not in known:
                meant = get_close_matches(name, known, 1, 0.6)
                mend = f"Did you mean {meant[0]}?" if meant else f"Fields are: {', '.join(known)}."
                notes.error(value, f'{what}: unknown field "{name}".', "Unknown fields are never ignored.", mend)

    def wrong(self, node: Node, name: str, expected: str, mend: str) -> None:
        self.notes.error(node, f"{self.what}: {name} is not {expected}.", f"It is {_a(node.kind)}.", mend)

    def get(self, name: str, *, required: bool = False) -> Node | None:
        node = self.node.get(name)
        if node is not None and node.kind == "null":
            self.notes.error(node, f"{self.what}: {name} is empty.", "Empty says nothing.", "Fill it or leave it out.")
            return None
        if node is None and required and self.node.kind == "mapping":
            self.notes.error(self.node, f"{self.what}: {name} is missing.", "It is required.", f"Add {name}.")
        return node

    def text(self, name: str, *, required: bool = False) -> str | None:
        node = self.get(name, required=required)
        return None if node is None else self._scalar_text(node, name)

    def _scalar_text(self, node: Node, name: str) -> str:
        if node.kind != "text":
            mend = "Write it in quotes." if node.raw else "Write a text."
            self.wrong(node, name, "a text", mend)
        return node.raw

    def expression(self, name: str) -> str | None:
        """A Cedar expression: `when: true` is one too, although YAML takes it for a boolean."""
        node = self.get(name)
        if node is not None and node.kind not in ("text", "boolean"):
            self.wrong(node, name, "an expression", "Write it in quotes.")
        return None if node is None else node.raw

    def integer(self, name: str, *, required: bool = False) -> int:
        node = self.get(name, required=required)
        if node is None:
            return 0
        if node.kind != "integer":
            self.wrong(node, name, "a whole number", "Write digits without quotes.")
            return 0
        return node.integer()

    def boolean(self, name: str) -> bool:
        node = self.get(name)
        if node is not None and node.kind != "boolean":
            self.wrong(node, name, "true or false", "Write true or false without quotes.")
        return node is not None and node.raw.lower() == "true"

    def choice(self, name: str, options: Any, default: str | None = None, *, required: bool = False) -> Any:
        """`options` is a Literal type; a stand-in after an error is its first word."""
        words: tuple[str, ...] = get_args(options)
        node = self.get(name, required=required)
        if node is None:
            return words[0] if required else default
        if node.kind == "text" and node.raw in words:
            return node.raw
        meant = get_close_matches(node.raw, words, 1, 0.6)
        mend = f"Did you mean {meant[0]}?" if meant else f"Write one of: {', '.join(words)}."
        self.notes.error(node, f'{self.what}: {name} cannot be "{node.raw}".', f"It is {_a(node.kind)}.", mend)
        return words[0]

    def duration_us(self, name: str, *, required: bool = False) -> int | None:
        text = self.text(name, required=required)
        return None if text is None else self.parsed(name, text, parse_duration, 1)

    def parsed(self, name: str, text: str, parse: Any, stand_in: Any) -> Any:
        try:
            return parse(text)
        except InputError as error:
            self.notes.error(
                self.node.get(name), f"{self.what}: {name} is wrong.", f"{error.message}.", error.hint or ""
            )
            return stand_in

    def texts(self, name: str, *, required: bool = False, single: bool = False) -> tuple[str, ...]:
        """A list of texts; with `single`, one text may stand without brackets."""
        node = self.get(name, required=required)
        if node is None:
            return ()
        if single and node.kind == "text":
            return (node.raw,)
        return tuple(self._scalar_text(item, name) for item in self._items(node, name))

    def children(self, name: str, *, required: bool = False) -> tuple[Node, ...]:
        node = self.get(name, required=required)
        return () if node is None else self._items(node, name)

    def _items(self, node: Node, name: str) -> tuple[Node, ...]:
        if node.kind != "list":
            self.wrong(node, name, "a list", "Write it in brackets or as dashed lines.")
        return node.items

    def members(self, name: str) -> tuple[tuple[str, Node], ...]:
        node = self.get(name)
        if node is not None and node.kind != "mapping":
            self.wrong(node, name, "a mapping", "Write `name: value`.")
        return () if node is None else node.members

    def fields(self, name: str, known: tuple[str, ...]) -> _Fields | None:
        node = self.get(name)
        return None if node is None else _Fields(self.notes, node, f"{self.what}: {name}", known)


def read_contract(root: Node, notes: Notes) -> model.Contract | None:
    """Return the contract that the document holds, or None after noting what is wrong with its shape."""
    known = (*model.Contract.__struct_fields__, "on_suspend")
    top = _Fields(notes, root, "contract", tuple(name for name in known if name != "unfinished_runs"), _CONTRACT_LATER)
    unfinished = top.fields("on_suspend", ("unfinished_runs",))
    restricted = top.fields("restricted", model.Restricted.__struct_fields__)
    contract = model.Contract(
        contract=top.text("contract", required=True) or "",
        version=top.integer("version", required=True),
        agent=top.text("agent", required=True) or "",
        owner=top.text("owner", required=True) or "",
        purpose=top.text("purpose", required=True) or "",
        tools=tuple(_tool(notes, node) for node in top.children("tools", required=True)),
        restricted=_restricted(restricted),
        valid=_validity(top.fields("valid", ("from", "until"))),
        applies_to={key: top._scalar_text(node, "applies_to") for key, node in top.members("applies_to")},
        clauses=tuple(_clause(notes, node) for node in top.children("clauses")),
        limits=tuple(_limit(notes, node) for node in top.children("limits")),
        response=tuple(_rule(notes, node) for node in top.children("response")),
        unfinished_runs=None if unfinished is None else unfinished.text("unfinished_runs", required=True),
        escalation=tuple(_step(notes, node) for node in top.children("escalation")),
    )
    return None if any(finding.level == "error" for finding in notes.findings) else contract


def _a(kind: str) -> str:
    return "empty" if kind == "null" else f"an {kind}" if kind == "integer" else f"a {kind}"


def _named(node: Node, field: str, what: str) -> str:
    name = node.get(field)
    return f"{what} {name.raw}" if name is not None and name.raw else what


def _restricted(fields: _Fields | None) -> model.Restricted:
    if fields is None:
        return model.Restricted(irreversible="escalate", limits="half")
    return model.Restricted(
        irreversible=fields.choice("irreversible", model.WhenRestricted, "escalate"),
        limits=fields.choice("limits", model.LimitsRestricted, "half"),
    )


def _validity(fields: _Fields | None) -> model.Validity | None:
    return None if fields is None else model.Validity(since=fields.text("from"), until=fields.text("until"))


def _tool(notes: Notes, node: Node) -> model.Tool:
    known = model.Tool.__struct_fields__
    fields = _Fields(
        notes, node, _named(node, "tool", "tool"), tuple(n.removesuffix("_us") for n in known), _TOOL_LATER
    )
    affects = fields.fields("affects", model.Affects.__struct_fields__)
    return model.Tool(
        tool=fields.text("tool", required=True) or "",
        effect=fields.choice("effect", model.Effect, required=True),
        custody=fields.choice("custody", model.Custody, "none"),
        arguments=tuple(
            model.Argument(
                name=name.removesuffix("?"),
                type=fields._scalar_text(below, f"the type of {name}"),
                optional=name.endswith("?"),
            )
            for name, below in fields.members("arguments")
        ),
        executor=fields.choice("executor", model.Executor),
        deadline_us=fields.duration_us("deadline"),
        idempotent=fields.boolean("idempotent"),
        affects=None
        if affects is None
        else model.Affects(**{name: affects.text(name) for name in model.Affects.__struct_fields__}),
        public=fields.texts("public"),
        witness=fields.text("witness"),
    )


def _clause(notes: Notes, node: Node) -> model.Clause:
    what = _named(node, "id", "clause")
    fields = _Fields(notes, node, what, ("id", "deny", "escalate", "when", "severity", "because"))
    then = _one_of(fields, ("deny", "escalate"))
    return model.Clause(
        id=fields.text("id", required=True) or "",
        then="escalate" if then == "escalate" else "deny",
        tools=fields.texts(then, single=True),
        severity=fields.choice("severity", model.Severity, "minor"),
        when=fields.expression("when"),
        because=fields.text("because"),
    )


def _limit(notes: Notes, node: Node) -> model.Limit:
    what = _named(node, "id", "limit")
    later = ("sum",)
    fields = _Fields(
        notes,
        node,
        what,
        ("id", "count", "once_per", "at_most", "keys", "per", "then", "severity", "because"),
        later,
    )
    counts = _one_of(fields, ("count", "once_per"), later) == "count"
    for name in ("keys",) if counts else ("at_most",):
        if (extra := node.get(name)) is not None:
            mend = "Use once_per, or leave keys out." if counts else "Use count, or leave at_most out."
            notes.error(extra, f"{what}: {name} has no meaning here.", "It would be ignored.", mend)
    return model.Limit(
        id=fields.text("id", required=True) or "",
        kind="count" if counts else "once_per",
        tools=fields.texts("count" if counts else "once_per", single=True),
        at_most=fields.integer("at_most", required=True) if counts else 1,
        per_us=fields.duration_us("per", required=counts) or 0,
        then=fields.choice("then", model.Then, required=True),
        severity=fields.choice("severity", model.Severity, "minor"),
        keys=() if counts else fields.texts("keys", required=True),
        because=fields.text("because"),
    )


def _one_of(fields: _Fields, names: tuple[str, ...], later: tuple[str, ...] = ()) -> str:
    written = [name for name in names if fields.node.get(name) is not None]
    if len(written) != 1 and not any(fields.node.get(name) for name in later):
        fields.notes.error(
            fields.node,
            f"{fields.what}: write either {' or '.join(names)}.",
            f"Found {len(written)} of them.",
            f"Name the tool: `{names[0]}: payments.refund`.",
        )
    return written[0] if written else names[0]


def _rule(notes: Notes, node: Node) -> model.Rule:
    fields = _Fields(notes, node, "response rule", ("signal", "do"))
    text = fields.text("signal", required=True)
    signal = None if text is None else fields.parsed("signal", text, parse_signal, None)
    words: list[model.Do] = []
    for item in fields.children("do", required=True):
        known = next((word for word in DO_WORDS if word == item.raw), None)
        if known is not None:
            words.append(known)
        elif item.raw == "suspend_group":
            notes.error(item, "response rule: suspend_group is not enforced yet.", _LATER, "Write suspend.")
        else:
            mend = f"Write any of: {', '.join(DO_WORDS)}."
            notes.error(item, f'response rule: "{item.raw}" is not a response.', "Nothing would happen.", mend)
    return model.Rule(
        signal="" if signal is None else signal.name,
        at_least=1 if signal is None else signal.at_least,
        within_us=0 if signal is None else signal.within_us,
        do=expand_do(tuple(words)),
    )


def _step(notes: Notes, node: Node) -> model.Step:
    fields = _Fields(notes, node, "escalation step", ("notify", "by"), _STEP_LATER)
    return model.Step(notify=fields.text("notify", required=True) or "", by=fields.texts("by", required=True))
