"""Clauses, limits and response rules, from text to records: the same in a contract and in a floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

from failwell.core.contract import model
from failwell.core.contract.document import Node
from failwell.core.contract.fields import Fields, called
from failwell.core.contract.notes import Notes
from failwell.core.contract.signal import DO_WORDS, Signal, expand_do, parse_signal

T = TypeVar("T", bound=str)

_BlastOf = Literal["actions", "amount"]
_VERBS: tuple[Literal["deny", "escalate"], ...] = ("deny", "escalate")


class _Takes(NamedTuple):
    """What a kind of limit takes besides what all take: False where it may be left out, True where it must stand, None
    where it would mean nothing."""

    at_most: bool | None = None
    per: bool | None = None
    after: bool | None = None


#: Every kind of limit, and what it takes.
LIMITS: dict[model.LimitKind, _Takes] = {
    "count": _Takes(at_most=True, per=False),
    "sum": _Takes(at_most=True, per=False),
    "rate": _Takes(at_most=True, per=True),
    "concurrent": _Takes(at_most=True),
    "cooldown": _Takes(per=True),
    "once_per": _Takes(per=False),
    "sequence": _Takes(after=True),
    "blast": _Takes(at_most=True, per=False),
}


def read_clause(notes: Notes, node: Node) -> model.Clause:
    """The clause that a mapping spells."""
    fields = Fields(notes, node, called(node, "id", "clause"), "clause")
    then = _one_of(fields, _VERBS, f"{fields.what}: write either deny or escalate.")
    return model.Clause(
        id=fields.text("id", required=True) or "",
        then=then,
        tools=fields.texts(then, single=True),
        severity=fields.choice("severity", model.Severity, "minor"),
        when=fields.expression("when"),
        because=fields.text("because"),
    )


def read_limit(notes: Notes, node: Node) -> model.Limit:
    """The limit that a mapping spells."""
    fields = Fields(notes, node, called(node, "id", "limit"), "limit")
    kind = _one_of(fields, list(LIMITS), f"{fields.what}: write one of {', '.join(LIMITS)}.")
    takes = LIMITS[kind]
    for name, asked in takes._asdict().items():
        if asked is None and (extra := node.get(name)) is not None:
            fitting = ", ".join(other for other, of in LIMITS.items() if getattr(of, name) is not None)
            mend = f"Leave it out, or use one of: {fitting}."
            notes.error(extra, f"{fields.what}: {name} has no meaning here.", "It would be ignored.", mend)
    tools, sums = _measured(fields, kind)
    return model.Limit(
        id=fields.text("id", required=True) or "",
        kind=kind,
        tools=tools,
        at_most=fields.integer("at_most", required=True) if takes.at_most else 1,
        per_us=0 if takes.per is None else fields.duration_us("per", required=takes.per) or 0,
        then=fields.choice("then", model.Then, required=True),
        severity=fields.choice("severity", model.Severity, "minor"),
        keys=fields.texts("keys"),
        because=fields.text("because"),
        each=fields.choices("each", model.Each),
        sums=sums,
        needs=fields.text("after", required=True) if takes.after else None,
    )


def _measured(fields: Fields, kind: str) -> tuple[tuple[str, ...], str | None]:
    """The tools of a limit, and the argument that it adds up."""
    if kind == "blast":
        return (), "amount" if fields.choice(kind, _BlastOf) == "amount" else None
    named = fields.texts(kind, single=True)
    if kind != "sum":
        return named, None
    parts = [name.rpartition(".") for name in named]
    arguments = {argument for _, _, argument in parts}
    if len(arguments) != 1 or not all(tool for tool, _, _ in parts):
        fields.notes.error(
            fields.node.get("sum"),
            f"{fields.what}: sum does not name one argument.",
            "The last part is the argument; several tools add up the same one.",
            "Write sum: payments.refund.amount.",
        )
    return tuple(tool for tool, _, _ in parts), next(iter(arguments), None)


def _one_of(fields: Fields, names: Sequence[T], problem: str) -> T:
    written = [name for name in names if fields.node.get(name) is not None]
    if len(written) != 1:
        mend = f"Name the tool: `{names[0]}: payments.refund`."
        fields.notes.error(fields.node, problem, f"Found {len(written)} of them.", mend)
    return written[0] if written else names[0]


def read_rule(notes: Notes, node: Node) -> model.Rule:
    """The response rule that a mapping spells."""
    fields = Fields(notes, node, "response rule", "response")
    text = fields.text("signal", required=True)
    signal: Signal | None = None if text is None else fields.parsed("signal", text, parse_signal, None)
    words: list[model.Do] = []
    for item in fields.children("do", required=True):
        known = next((word for word in DO_WORDS if word == item.raw), None)
        if known is not None:
            words.append(known)
        else:
            mend = f"Write any of: {', '.join(DO_WORDS)}."
            notes.error(item, f'response rule: "{item.raw}" is not a response.', "Nothing would happen.", mend)
    return model.Rule(
        signal="" if signal is None else signal.name,
        at_least=1 if signal is None else signal.at_least,
        within_us=0 if signal is None else signal.within_us,
        do=expand_do(tuple(words)),
    )


def read_restricted(fields: Fields | None) -> model.Restricted | None:
    """What RESTRICTED means, as far as it is said."""
    if fields is None:
        return None
    return model.Restricted(
        irreversible=fields.choice("irreversible", model.WhenRestricted, "escalate"),
        limits=fields.choice("limits", model.LimitsRestricted, "half"),
    )
