"""Hindsight: the recorded actions judged once more, by the same judge, under the contract as it was or as changed.

Real evaluation of what was really proposed; nothing is looked up in the recorded verdicts. Under a changed contract
every action is judged as it was recorded, although a denial would have changed what came after: so only the first
verdict that differs is a statement about what would have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.errors import NotFound
from failwell.core.instants import parse_at
from failwell.core.records import Entry

#: Raw arguments of a decision, from its blob.
Arguments = Callable[[int], bytes]


class Rejudged(NamedTuple):
    """One recorded decision: verdict and clauses then, verdict and clauses now."""

    entry: int
    was: str
    was_clauses: tuple[str, ...]
    now: str
    now_clauses: tuple[str, ...]

    @property
    def same(self) -> bool:
        return (self.was, self.was_clauses) == (self.now, self.now_clauses)


def rejudge(
    entries: Sequence[Entry[Any]], agent: str, arguments: Arguments, contract: contracts.Contract
) -> tuple[Rejudged, ...]:  # fmt: skip
    """Judge the agent's decisions among `entries` (all of the ledger, in order) under `contract`."""
    compiled = contracts.compile(contract)
    requests: dict[int, Any] = {}
    uses: dict[tuple[str, tuple[str, ...]], dict[int, int]] = {}
    judged = []
    for entry in entries:
        if entry.agent != agent:
            continue
        body = entry.body
        if isinstance(body, kinds.RunOpened):
            requests[entry.seq] = body.request_provenance
        elif isinstance(body, kinds.Outcome) and body.state == "blocked":
            for reserved in uses.values():
                reserved.pop(body.decision, None)
        elif isinstance(body, kinds.Decision):
            now_us = parse_at(entry.at)
            judgment = compiled.judge(
                contracts.Proposal(tool=body.tool, arguments=arguments(entry.seq)),
                contracts.Situation(
                    authority=body.authority, now_us=now_us, request=requests.get(entry.run or 0, "absent"),
                    usage=_usage(uses, now_us),
                ),
            )  # fmt: skip
            for use in judgment.uses:
                if use.taken(judgment.verdict):
                    uses.setdefault((use.limit.id, use.key), {})[entry.seq] = now_us
            judged.append(
                Rejudged(
                    entry.seq, body.verdict, tuple(clause.id for clause in body.clauses),
                    judgment.verdict, tuple(clause.id for clause in judgment.clauses),
                )
            )  # fmt: skip
    return tuple(judged)


def _usage(uses: dict[tuple[str, tuple[str, ...]], dict[int, int]], now_us: int) -> Callable[..., int]:
    def used(limit: contracts.Limit, key: tuple[str, ...]) -> int:
        reserved = uses.get((limit.id, key), {}).values()
        return sum(1 for at_us in reserved if limit.per_us == 0 or at_us > now_us - limit.per_us)

    return used


def contract_in_force(entries: Sequence[Entry[Any]], agent: str) -> contracts.Contract:
    """The contract that was adopted for the agent last, from the record; NotFound where there is none."""
    for entry in reversed(entries):
        if isinstance(entry.body, kinds.ContractAdopted) and entry.agent == agent:
            return contracts.from_canonical(entry.body.document.encode())
    raise NotFound(f"no contract of {agent} is in this record")


def with_denial(contract: contracts.Contract, limit: str) -> contracts.Contract:
    """The same contract, one version on, in which `limit` denies instead of records."""
    replace = msgspec.structs.replace
    return replace(
        contract,
        version=contract.version + 1,
        limits=tuple(replace(each, then="deny") if each.id == limit else each for each in contract.limits),
        # A rule about its records would wait for a signal that is never raised any more.
        response=tuple(rule for rule in contract.response if rule.signal != f"recorded({limit})"),
    )
