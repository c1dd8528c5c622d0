"""The clauses of one tool as one Cedar policy set with its schema, and their evaluation (D22).

Every clause is a `forbid`; which of them fired, and whether they deny or escalate, is read from the policy
ids that Cedar returns. Most actions set off none, and each policy costs by itself: so several clauses are first
asked together, as the one `forbid` of a disjunction, and one by one only where it denies. (A
disjunction is false only if each part is, without error: so a clean Allow says that of every clause.)
Cedar skips a policy that errors: INVARIANT: any diagnostic error, any decision but Allow or Deny, any unknown
reason is an EvaluationError, which means DENY. It keeps no state and judges no limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import cedarpy
import msgspec
from cedarpy import PolicySet, Schema, pst

from failwell.core.contract.argument import Type, Value
from failwell.core.contract.expression import CONTEXT_TYPES, Reads, Unsound, analyze, parse_when
from failwell.core.contract.looking import fact_name
from failwell.core.contract.model import Clause
from failwell.core.errors import FailwellError

_LISTED = "tool.listed"
#: The id of all clauses together; no clause can have it.
_ANY = "clause.any"
_CALL = pst.EntityUid(pst.EntityType("Action"), "call")
_NO_ENTITIES = cedarpy.Entities.from_json_str("[]")
_ENCODE = msgspec.json.Encoder().encode
_MAX_SHOWN_ERROR_LENGTH = 300


class EvaluationError(FailwellError):
    """Cedar did not decide cleanly."""

    code = "evaluation"


class Policy:
    """Compiled clauses of one tool. Immutable; evaluation is pure."""

    __slots__ = ("_context", "_ids", "_looked", "_policies", "_request", "_schema", "_together", "arguments")

    def __init__(
        self, *, agent: str, tool: str, expressions: Mapping[str, pst.Expr], schema: Schema, reads: Reads
    ) -> None:
        self._policies = PolicySet.from_pst(_policy_set(tool, expressions))
        self._together = _together(tool, expressions)
        self._schema = schema
        self._ids = frozenset(expressions)
        self._context = reads.context
        #: Names of the arguments that the clauses read: nothing else is handed over.
        self.arguments = tuple(sorted(reads.arguments))
        self._looked = tuple((name, fact_name(name)) for name in sorted(reads.looked))
        self._request = {
            "principal": {"type": "Agent", "id": agent},
            "action": {"type": "Action", "id": "call"},
            "resource": {"type": "Tool", "id": tool},
        }

    def evaluate(self, facts: Mapping[str, Value], context: Mapping[str, object]) -> frozenset[str]:
        """Return the ids of the clauses that hold for `facts`: present arguments, and looked-up ones under their
        `fact_name`; EvaluationError otherwise."""
        handed: dict[str, object] = {name: context[name] for name in self._context}
        if self.arguments:
            handed["args"] = {name: facts[name] for name in self.arguments if name in facts}
        if self._looked:
            handed["facts"] = {name: facts[known] for name, known in self._looked if known in facts}
        request: dict[str, Any] = {**self._request, "context": _ENCODE(handed).decode()}
        if self._together is not None and not self._asked(request, self._together, frozenset({_ANY})):
            return frozenset()
        fired = self._asked(request, self._policies, self._ids)
        if self._together is not None and not fired:
            raise EvaluationError("no clean decision: the clauses together and one by one say different things")
        return fired

    def _asked(self, request: dict[str, Any], policies: PolicySet, ids: frozenset[str]) -> frozenset[str]:
        """The ids of the policies that fired."""
        try:
            result = cedarpy.is_authorized(request, policies, _NO_ENTITIES, self._schema)
        except ValueError as error:
            raise EvaluationError(_shown(str(error))) from error
        diagnostics = result.diagnostics
        if diagnostics.errors:
            raise EvaluationError(_shown("; ".join(diagnostics.errors)))
        reasons = frozenset(diagnostics.reasons)
        if result.decision is cedarpy.Decision.Allow and reasons == {_LISTED}:
            return frozenset()
        if result.decision is cedarpy.Decision.Deny and reasons and reasons <= ids:
            return reasons
        raise EvaluationError(f"no clean decision: {result.decision.name} with {len(reasons)} reasons")


def compile_policy(
    agent: str,
    tool: str,
    clauses: tuple[Clause, ...],
    arguments: Mapping[str, tuple[Type, bool]],
    looked: Mapping[str, Type],
) -> tuple[Policy | None, dict[str, Reads], dict[str, Unsound]]:
    """Return the policy of one tool (None if a clause is unsound, or there are none), and per clause id
    what it reads or why it is unsound. `arguments`: name -> (type, optional); `looked`: name -> type."""
    expressions: dict[str, pst.Expr] = {}
    reads: dict[str, Reads] = {}
    unsound: dict[str, Unsound] = {}
    for clause in clauses:
        try:
            text = "true" if clause.when is None else clause.when
            expr = parse_when(text)
            found = analyze(expr, arguments, looked)
            _validate(text, _schema(found, arguments, looked))
        except Unsound as error:
            unsound[clause.id] = error
        else:
            expressions[clause.id], reads[clause.id] = expr, found
    if unsound or not clauses:
        return None, reads, unsound
    union = Reads(
        frozenset().union(*(found.arguments for found in reads.values())),
        frozenset().union(*(found.looked for found in reads.values())),
        frozenset().union(*(found.context for found in reads.values())),
        next(iter(reads.values())).holds,
    )
    schema = Schema.from_str(_schema(union, arguments, looked))
    return Policy(agent=agent, tool=tool, expressions=expressions, schema=schema, reads=union), reads, unsound


def _policy_set(tool: str, expressions: Mapping[str, pst.Expr]) -> pst.PolicySet:
    def template(key: str, effect: pst.Effect, clauses: tuple[pst.Clause, ...]) -> pst.Template:
        return pst.Template(
            id=key,
            effect=effect,
            principal=pst.ScopeAny(),
            action=pst.ActionEq(_CALL),
            resource=pst.ScopeEq(pst.EntityUid(pst.EntityType("Tool"), tool)),
            clauses=clauses,
            annotations={},
        )

    policies = {key: template(key, "forbid", (pst.When(expr),)) for key, expr in expressions.items()}
    policies[_LISTED] = template(_LISTED, "permit", ())
    return pst.PolicySet(templates={}, static_policies=policies, template_links=())


def _together(tool: str, expressions: Mapping[str, pst.Expr]) -> PolicySet | None:
    """All clauses as one; None where there is one only, or where together they are deeper than Cedar builds."""
    if len(expressions) < 2:
        return None
    try:
        return PolicySet.from_pst(_policy_set(tool, {_ANY: _disjunction(list(expressions.values()))}))
    except ValueError:
        return None


def _disjunction(parts: list[pst.Expr]) -> pst.Expr:
    """Balanced, so that its depth grows with the logarithm of their number."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return pst.BinaryOp("or", _disjunction(parts[:middle]), _disjunction(parts[middle:]))


def _schema(reads: Reads, arguments: Mapping[str, tuple[Type, bool]], looked: Mapping[str, Type]) -> str:
    """The Cedar schema of what is read, as text."""
    fields = [f'"{name}": {CONTEXT_TYPES[name]}' for name in sorted(reads.context)]
    if reads.arguments:
        args = (
            f'"{name}"{"?" if arguments[name][1] else ""}: {arguments[name][0].cedar}'
            for name in sorted(reads.arguments)
        )
        fields.append(f'"args": {{{", ".join(args)}}}')
    if reads.looked:
        asked = (f'"{name}": {looked[name].cedar}' for name in sorted(reads.looked))
        fields.append(f'"facts": {{{", ".join(asked)}}}')
    return (
        'entity Agent; entity Tool; action "call" appliesTo '
        f"{{ principal: Agent, resource: Tool, context: {{{', '.join(fields)}}} }};"
    )


@lru_cache(maxsize=1024)
def _validate(text: str, schema: str) -> None:
    """Strict validation of what `parse_when` proved to be one expression.

    It is not validated as Cedar writes the tree out: that text has a bracket for every operator, and what is
    deep enough ends the process.
    """
    policy = f'forbid(principal, action == Action::"call", resource) when {{\n{text}\n}};'
    result = cedarpy.validate_policies(policy, Schema.from_str(schema))
    if result.validation_passed and not result.errors:
        return
    message = str(result.errors[0].error if result.errors else "not valid")
    message = message.partition("`, ")[2] if message.startswith("for policy `") else message
    optional = "optional attribute" in message
    mend = "Ask first: context.args has NAME && ..." if optional else "Compare values of the same type."
    raise Unsound(message, hint=mend)


def _shown(message: str) -> str:
    return message[:_MAX_SHOWN_ERROR_LENGTH]
