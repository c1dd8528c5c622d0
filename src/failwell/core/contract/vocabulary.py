"""Every field that the text of a contract or of a floor can have: its part, its shape and what it says.

The one list of fields: the reader refuses what does not stand here, the JSON Schema for editors is made of it.
`shape` is JSON Schema 2020-12; it is what an editor shows, and never what decides: that is `checks.py`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, get_args

from failwell.core.contract import model
from failwell.core.contract.signal import DO_WORDS
from failwell.core.fact_keys import ARGUMENT_NAME

Shape = dict[str, Any]


class Field(NamedTuple):
    """One field of one part."""

    says: str
    shape: Shape
    required: bool = False


_TEXT: Shape = {"type": "string"}
_TEXTS: Shape = {"type": "array", "items": {"type": "string"}}
_NUMBER: Shape = {"type": "integer", "minimum": 1}
_YES: Shape = {"type": "boolean"}
_DURATION: Shape = {"type": "string", "pattern": "^[1-9][0-9]{0,8}[smhd]$"}
_DAY: Shape = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
_ONE_OR_MORE: Shape = {"anyOf": [_TEXT, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_ANYTHING: Shape = {}
_ARGUMENTS: Shape = {
    "type": "object", "propertyNames": {"pattern": f"^{ARGUMENT_NAME.pattern}\\??$"}, "additionalProperties": _TEXT,
}  # fmt: skip


def _one(words: Any) -> Shape:
    return {"enum": list(get_args(words))}


def _part(name: str) -> Shape:
    return {"$ref": f"#/$defs/{name}"}


def _list(name: str) -> Shape:
    return {"type": "array", "items": _part(name)}


def _named(shape: Shape) -> Shape:
    return {"type": "object", "additionalProperties": shape}


_ID = Field("The name under which it stands in verdicts, signals and the record.", _TEXT, required=True)
_SEVERITY = Field("How grave it is when it speaks: minor unless said.", _one(model.Severity))
_BECAUSE = Field("Why, in words for whoever meets it.", _TEXT)
_LIMIT_TOOLS = "The tool, or tools counted together: "

_CLAUSE = {
    "id": _ID,
    "deny": Field("Deny actions of this tool (or list of tools).", _ONE_OR_MORE),
    "escalate": Field("Leave actions of this tool (or list of tools) to a person.", _ONE_OR_MORE),
    "when": Field(
        "Cedar expression over context.args, context.facts, context.request, context.principal, context.novel and "
        "context.baseline; amounts in the smallest unit. Left out: always.",
        {"type": ["string", "boolean"]},
    ),
    "severity": _SEVERITY,
    "because": _BECAUSE,
}

_LIMIT = {
    "id": _ID,
    "count": Field(_LIMIT_TOOLS + "at most `at_most` allowed in any window of `per`.", _ONE_OR_MORE),
    "rate": Field(_LIMIT_TOOLS + "at most `at_most` asked for in any window of `per`, allowed or not.", _ONE_OR_MORE),
    "concurrent": Field(_LIMIT_TOOLS + "at most `at_most` allowed and not ended.", _ONE_OR_MORE),
    "cooldown": Field(_LIMIT_TOOLS + "none within `per` of another.", _ONE_OR_MORE),
    "once_per": Field(_LIMIT_TOOLS + "only once for the same values of `keys`.", _ONE_OR_MORE),
    "sequence": Field(_LIMIT_TOOLS + "only after a completed action of the tool `after` in this run.", _ONE_OR_MORE),
    "sum": Field(
        "TOOL.ARGUMENT, or several of one argument: its values add up to at most `at_most` in any window.",
        _ONE_OR_MORE,
    ),
    "blast": Field(
        "All irreversible tools together: at most `at_most` `actions`, or of the `amount` that they affect.",
        {"enum": ["actions", "amount"]},
    ),
    "at_most": Field("The bound: actions, or smallest units of an amount.", _NUMBER),
    "per": Field("The window: it slides, and is measured in ledger time. Left out: over all time.", _DURATION),
    "after": Field("Of a sequence: the tool that has to come first.", _TEXT),
    "keys": Field("Kept apart for the values of these arguments.", _TEXTS),
    "each": Field("Kept apart for each principal, run or subject.", {"type": "array", "items": _one(model.Each)}),
    "then": Field("What happens beyond it.", _one(model.Then), required=True),
    "severity": _SEVERITY,
    "because": _BECAUSE,
}

_ASKED = {
    "lookup": Field("The trusted source, as declared in failwell.toml.", _TEXT, required=True),
    "with": Field("The arguments that the source is told.", _TEXTS),
    "type": Field("What its answer must be.", _TEXT, required=True),
}

_RESTRICTED = {
    "irreversible": Field("Irreversible tools while the agent is RESTRICTED or in PROBATION: escalate unless said.",
                          _one(model.WhenRestricted)),
    "limits": Field("Its limits meanwhile: half (rounded down) unless said.", _one(model.LimitsRestricted)),
}  # fmt: skip

#: Part -> field -> what it is.
PARTS: Final[dict[str, dict[str, Field]]] = {
    "contract": {
        "contract": Field("The contract's name.", _TEXT, required=True),
        "version": Field("Its number; an adopted version never changes.", _NUMBER, required=True),
        "agent": Field("The agent that it bounds: a name, or a SPIFFE id.", _TEXT, required=True),
        "owner": Field("The person who answers for the agent.", _TEXT, required=True),
        "purpose": Field("What the agent is for, in one or two sentences.", _TEXT, required=True),
        "valid": Field("The days on which it permits anything.", _part("valid")),
        "applies_to": Field("Labels by which `backtest` picks it for a recorded run.", _named(_TEXT)),
        "principals": Field("On whose behalf it may act: kinds (user) or names (user:anna). Empty: on anybody's.",
                            _TEXTS),
        "delegates": Field("The agents that it may hand work to.", _TEXTS),
        "oversight": Field("Who decides what escalates, and how long they have.", _part("oversight")),
        "tools": Field("What the agent may use; what is not listed is denied.", _list("tool"), required=True),
        "clauses": Field("Rules on single actions.", _list("clause")),
        "limits": Field("Rules on many actions together.", _list("limit")),
        "response": Field("What signals set in motion, above the default ladder.", _list("response")),
        "restricted": Field("What RESTRICTED and PROBATION mean.", _part("restricted")),
        "on_suspend": Field("What becomes of the work that a stopped agent leaves.", _part("on_suspend")),
        "stopping": Field("What it harms to stop the agent, weighed where no rule says what to do.",
                          _part("stopping")),
        "escalation": Field("Who is asked until one of them has taken an incident, step by step.", _list("escalation")),
        "examples": Field("Actions with the verdict that their author expects; run by `contract test`, not signed.",
                          _list("example")),
    },
    "valid": {
        "from": Field("The first day (UTC).", _DAY),
        "until": Field("The first day on which it is over (UTC).", _DAY),
    },
    "oversight": {
        "reviewers": Field("Persons, or `role:ROLE`; everybody with the role reviewer unless said.", _TEXTS),
        "decide_within": Field("After this long without an answer it is a denial: 24h unless said.", _DURATION),
    },
    "tool": {
        "tool": Field("Its name, as the agent calls it.", _TEXT, required=True),
        "effect": Field("What it does to the world.", _one(model.Effect), required=True),
        "executor": Field("How a running action can be stopped.", _one(model.Executor)),
        "custody": Field("Who holds its credential: none means that the gate is advisory.", _one(model.Custody)),
        "deadline": Field("How long an action may take; left out, containment has no bound.", _DURATION),
        "idempotent": Field("Running it twice does no harm, so that it may be run again after a crash.", _YES),
        "arguments": Field('NAME: "TYPE"; NAME? is optional. What is not declared is denied.', _ARGUMENTS),
        "affects": Field("Which arguments name the customer, the resource and the amount.", _part("affects")),
        "public": Field("Arguments, and facts as facts.NAME, that stand readable in the record; the rest is sealed "
                        "apart.", _TEXTS),
        "witness": Field("The tool side's own log, as declared in failwell.toml.", _TEXT),
        "facts": Field("What the gate asks trusted sources before it judges.", _named(_part("fact"))),
        "ensure": Field("What must be true of the world after the act.", _named(_part("ensure"))),
        "compensate": Field("The step that undoes what an action did that was stopped: a tool of failwell.toml, or "
                            "`{tool: NAME, within: 30s}`.", {"anyOf": [_TEXT, _part("compensate")]}),
        "subject": Field("The argument that names the person whom an output or a decision is about.", _TEXT),
        "contest": Field("To whom that person can object, and for how long.", _part("contest")),
    },
    "affects": {
        "customer": Field("The argument that names the customer.", _TEXT),
        "resource": Field("The argument that names the resource.", _TEXT),
        "amount": Field("The argument that says how much.", _TEXT),
    },
    "fact": _ASKED,
    "ensure": {
        **_ASKED,
        "is": Field("What the answer must be.", {"type": ["boolean", "integer", "string"]}, required=True),
        "within": Field("How long the world has to become so.", _DURATION, required=True),
        "severity": Field("How grave a miss is: major unless said.", _one(model.Severity)),
    },
    "compensate": {
        "tool": Field("The step, as failwell.toml declares it under [tools].", _TEXT, required=True),
        "within": Field("How long it may take: 30s unless said.", _DURATION),
    },
    "contest": {
        "to": Field("Who hears the objection.", _TEXT, required=True),
        "within": Field("How long one can object.", _DURATION, required=True),
    },
    "clause": _CLAUSE,
    "limit": _LIMIT,
    "response": {
        "signal": Field("denied(ID), escalated(ID), recorded(ID), ensure(NAME), compensate(TOOL), failed(TOOL), "
                        "unknown(TOOL), overdue(TOOL), noticed(NAME), delegate(AGENT), objective(NAME), ticket.denied, "
                        "reported, bypass or executor.unconfirmed; with `>= 3 in 10m` as often.", _TEXT,
                        required=True),
        "do": Field("What follows; suspend implies interrupt, hold and notify; suspend_group does so for all of its "
                    "groups.",
                    {"type": "array", "items": {"enum": list(DO_WORDS)}, "minItems": 1}, required=True),
    },
    "restricted": _RESTRICTED,
    "on_suspend": {"unfinished_runs": Field("Who gets the runs that it leaves open.", _TEXT, required=True)},
    "stopping": {
        "harm": Field("How grave it is that the agent's work stands still. Where it is graver than what was noticed, "
                      "the agent is restricted and a person asked, unless that is critical.", _one(model.Severity),
                      required=True),
        "because": Field("What stands still, in words for whoever has to weigh it.", _TEXT, required=True),
        "cover": Field("Who does the work meanwhile: a person, or team:NAME.", _TEXT),
    },
    "escalation": {
        "notify": Field("Who is asked: owner, team:NAME (whoever is on call), role:ROLE or person:NAME.",
                        {"type": "string", "pattern": "^(owner|(team|role|person):.+)$"}, required=True),
        "by": Field("By which channels: email (each one's own address) or some of failwell.toml. [email] unless said.",
                    {"type": "array", "items": _TEXT, "minItems": 1}),
        "ack_within": Field("How long they have before the next round or step: 15m unless said; a last resort is "
                            "asked every 30m.", _DURATION),
        "repeat": Field("So many more rounds of this step before the next: none unless said.",
                        {"type": "integer", "minimum": 0}),
        "require": Field("any, all, or how many of them have to take it: any unless said.",
                         {"anyOf": [_one(model.Require), _NUMBER]}),
        "severity": Field("Only for incidents at least this severe: minor unless said.", _one(model.Severity)),
        "hours": Field("Only at these hours, such as Mon-Fri 08:00-18:00 (in the timezone of [escalation]); passed "
                       "over otherwise.", _TEXT),
        "last_resort": Field("Asked again and again until one has taken it; nothing comes after it. Without one it is "
                             "everybody with the role operator or approver.", _YES),
    },
    "example": {
        "about": Field("What it shows.", _TEXT),
        "tool": Field("The tool that is called.", _TEXT, required=True),
        "arguments": Field("Its arguments; a text is taken as the JSON text.", {"type": ["object", "string"]}),
        "principal": Field("On whose behalf: nobody's unless said.", _TEXT),
        "request": Field("Where the run's request comes from: asserted unless said.",
                         {"enum": ["absent", "asserted", "derived", "verified"]}),
        "facts": Field("What trusted sources answer; one that is left out does not answer.", _named(_ANYTHING)),
        "authority": Field("The agent's authority: ACTIVE unless said.", _TEXT),
        "novel": Field("What was never seen before: names of arguments, tool, target.", _TEXTS),
        "baseline": Field("absent unless said.", {"enum": ["absent", "learning", "locked"]}),
        "approved": Field("Clauses and limits that a person has answered for.", _TEXTS),
        "at": Field("The day; unless said, one on which the contract is in force.", _DAY),
        "after": Field("What the agent was allowed to do before.", _list("earlier")),
        "expect": Field("The verdict.", {"enum": ["ALLOW", "DENY", "ESCALATE"]}, required=True),
        "by": Field("Clauses and limits that must be among those that speak.", _ONE_OR_MORE),
    },
    "earlier": {
        "tool": Field("The tool that was called.", _TEXT, required=True),
        "arguments": Field("Its arguments; a text is taken as the JSON text.", {"type": ["object", "string"]}),
        "ago": Field("How long before: 1s unless said.", _DURATION),
        "times": Field("How often: once unless said.", _NUMBER),
        "run": Field("In which run; the example's is 1.", _NUMBER),
        "running": Field("It has not ended yet.", _YES),
        "principal": Field("On whose behalf: the example's unless said.", _TEXT),
    },
    "floor": {
        "floor": Field("The floor's name.", _TEXT, required=True),
        "version": Field("Its number; an adopted version never changes.", _NUMBER, required=True),
        "scope": Field("organisation, or group:NAME.", {"type": "string", "pattern": "^(organisation|group:.+)$"},
                       required=True),
        "purpose": Field("What it is for, in one or two sentences.", _TEXT, required=True),
        "never": Field("Tools that are denied; a name may end in *.", _TEXTS),
        "clauses": Field("Rules on single actions, beside each contract's own; a tool may end in *.",
                         _list("clause")),
        "limits": Field("Rules on many actions together; a tool may end in *.", _list("limit")),
        "restricted": Field("The least that RESTRICTED and PROBATION must mean.", _part("restricted")),
        "witnessed": Field("Every tool with an effect must name a witness.", _YES),
        "stoppable": Field("Every tool with an effect must have a deadline.", _YES),
        "custody": Field("What such a tool may say of its credential.",
                         {"type": "array", "items": _one(model.Custody)}),
    },
}  # fmt: skip

#: Fields of the format that this version does not enforce, by part.
LATER: Final[dict[str, tuple[str, ...]]] = {
    "contract": ("baseline",),
}
