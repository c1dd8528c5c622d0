"""A contract's text to its records: every field known, every unknown one refused with the word that was
meant.

What the records mean together is `check` in `checks.py`; rules are read in `rule_reader.py`.
"""

from __future__ import annotations

from failwell.core.contract import model
from failwell.core.contract.document import Node
from failwell.core.contract.fields import Fields, called
from failwell.core.contract.finding import errors_of
from failwell.core.contract.notes import Notes
from failwell.core.contract.rule_reader import read_clause, read_limit, read_restricted, read_rule

#: Who answers where a contract says how long they have and names nobody.
_REVIEWERS = ("role:reviewer",)
#: How long an undoing may take where a contract says nothing.
UNDONE_WITHIN_US = 30_000_000
#: How long a ticket is open where a contract names reviewers and no time.
DECIDE_WITHIN_US = 86_400_000_000

#: By what a step of the path asks where it does not say: what everybody has.
_BY = ("email",)

_DEFAULT_RESTRICTED = model.Restricted(irreversible="escalate", limits="half")


def read_contract(root: Node, notes: Notes) -> model.Contract | None:
    """Return the contract that the document holds, or None after noting what is wrong with its shape."""
    top = Fields(notes, root, "contract", "contract")
    unfinished = top.fields("on_suspend", "on_suspend")
    stopping = top.fields("stopping", "stopping")
    valid = top.fields("valid", "valid")
    contract = model.Contract(
        contract=top.text("contract", required=True) or "",
        version=top.integer("version", required=True),
        agent=top.text("agent", required=True) or "",
        owner=top.text("owner", required=True) or "",
        purpose=top.text("purpose", required=True) or "",
        tools=tuple(_tool(notes, node) for node in top.children("tools", required=True)),
        restricted=read_restricted(top.fields("restricted", "restricted")) or _DEFAULT_RESTRICTED,
        valid=None if valid is None else model.Validity(since=valid.text("from"), until=valid.text("until")),
        applies_to={key: top.scalar_text(node, "applies_to") for key, node in top.members("applies_to")},
        clauses=tuple(read_clause(notes, node) for node in top.children("clauses")),
        limits=tuple(read_limit(notes, node) for node in top.children("limits")),
        response=tuple(read_rule(notes, node) for node in top.children("response")),
        unfinished_runs=None if unfinished is None else unfinished.text("unfinished_runs", required=True),
        escalation=tuple(_step(notes, node) for node in top.children("escalation")),
        principals=top.texts("principals"),
        delegates=top.texts("delegates"),
        oversight=_oversight(top.fields("oversight", "oversight")),
        stopping=None
        if stopping is None
        else model.Stopping(
            harm=stopping.choice("harm", model.Severity, required=True),
            because=stopping.text("because", required=True) or "",
            cover=stopping.text("cover"),
        ),
    )
    return None if errors_of(notes.findings) else contract


def _oversight(fields: Fields | None) -> model.Oversight | None:
    if fields is None:
        return None
    within_us = fields.duration_us("decide_within")
    return model.Oversight(
        reviewers=_REVIEWERS if fields.node.get("reviewers") is None else fields.texts("reviewers"),
        decide_within_us=DECIDE_WITHIN_US if within_us is None else within_us,
    )


def _tool(notes: Notes, node: Node) -> model.Tool:
    fields = Fields(notes, node, called(node, "tool", "tool"), "tool")
    affects = fields.fields("affects", "affects")
    contest = fields.fields("contest", "contest")
    return model.Tool(
        tool=fields.text("tool", required=True) or "",
        effect=fields.choice("effect", model.Effect, required=True),
        custody=fields.choice("custody", model.Custody, "none"),
        arguments=tuple(
            model.Argument(
                name=name.removesuffix("?"),
                type=fields.scalar_text(below, f"the type of {name}"),
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
        facts=tuple(_lookup(name, below) for name, below in fields.named("facts", "fact", "fact")),
        ensure=tuple(_ensure(name, below) for name, below in fields.named("ensure", "ensure", "ensure")),
        compensate=_compensate(fields),
        subject=fields.text("subject"),
        contest=None
        if contest is None
        else model.Contest(
            to=contest.text("to", required=True) or "", within_us=contest.duration_us("within", required=True) or 0
        ),
    )


def _lookup(name: str, fields: Fields) -> model.Lookup:
    return model.Lookup(
        name=name,
        lookup=fields.text("lookup", required=True) or "",
        type=fields.text("type", required=True) or "",
        given=fields.texts("with"),
    )


def _ensure(name: str, fields: Fields) -> model.Ensure:
    return model.Ensure(
        name=name,
        lookup=fields.text("lookup", required=True) or "",
        type=fields.text("type", required=True) or "",
        expected=_expected(fields),
        within_us=fields.duration_us("within", required=True) or 0,
        given=fields.texts("with"),
        severity=fields.choice("severity", model.Severity, "major"),
    )


def _compensate(fields: Fields) -> model.Compensate | None:
    node = fields.get("compensate")
    if node is None or node.kind == "text":
        return None if node is None else model.Compensate(tool=node.raw, within_us=UNDONE_WITHIN_US)
    step = Fields(fields.notes, node, f"{fields.what}: compensate", "compensate")
    within_us = step.duration_us("within")
    return model.Compensate(
        tool=step.text("tool", required=True) or "",
        within_us=UNDONE_WITHIN_US if within_us is None else within_us,
    )


def _expected(fields: Fields) -> int | str | bool:
    node = fields.get("is", required=True)
    if node is None:
        return True
    if node.kind == "integer":
        return node.integer()
    if node.kind == "boolean":
        return fields.boolean("is")
    if node.kind != "text":
        fields.wrong(node, "is", "true, false, a whole number or a text", "Write an amount in quotes.")
    return node.raw


def _step(notes: Notes, node: Node) -> model.Step:
    fields = Fields(notes, node, "escalation step", "escalation")
    require = fields.get("require")
    number = require is not None and require.kind == "integer"
    return model.Step(
        notify=fields.text("notify", required=True) or "",
        by=_BY if fields.node.get("by") is None else fields.texts("by"),
        ack_within_us=fields.duration_us("ack_within"),
        repeat=fields.integer("repeat"),
        require=fields.integer("require") if number else fields.choice("require", model.Require, "any"),
        severity=fields.choice("severity", model.Severity, "minor"),
        hours=fields.text("hours") or "",
        last_resort=fields.boolean("last_resort"),
    )
