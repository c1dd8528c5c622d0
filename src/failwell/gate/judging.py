"""One action judged under every contract that binds it: its agent's own, and those of the agents that handed it over.

Each is compiled once, together with the floors it stands on. The strictest word wins, so that a delegation can only
narrow what may be done: whatever the last one in the chain is allowed, each before it must be allowed too (R2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any, Literal, NamedTuple, cast

import msgspec

from failwell.core import contract as contracts
from failwell.core import kinds, rows
from failwell.core.contract import Decided, Judgment, Looked, Question, Situation
from failwell.core.contract.model import Severity
from failwell.core.machines import worse
from failwell.gate.advice import advice
from failwell.gate.fitting import TOO_MUCH
from failwell.ledger.jobs import Turn
from failwell.ports.novelty import Novel, Novelty

Provenance = Literal["absent", "asserted", "derived", "verified"]

#: Agents of one chain, each of which has handed its work over to the next.
MAX_CHAIN = 4

_TEXT = msgspec.json.Encoder(order="sorted")


class _Link(NamedTuple):
    """The word of one contract of the chain. `prefix` stands before its ids; `agent` is whose limits they are."""

    agent: str
    prefix: str
    judgment: Judgment


class Ruling:
    """What all contracts together say of one action."""

    def __init__(self, links: tuple[_Link, ...], lookups: tuple[kinds.Lookup, ...] = ()) -> None:
        self._links = links
        self.judgment = links[-1].judgment
        self.lookups = lookups
        self.clauses, self.errors = self.judgment.clauses, self.judgment.errors
        self.verdict = self.judgment.verdict
        #: Nothing is decided while one of the contracts has to ask first.
        self.questions: tuple[Question, ...] = self.judgment.questions
        if len(links) > 1:
            self._join(links)

    def _join(self, links: tuple[_Link, ...]) -> None:
        replace = msgspec.structs.replace
        self.clauses = tuple(
            replace(clause, id=link.prefix + clause.id) for link in reversed(links) for clause in link.judgment.clauses
        )
        self.errors = tuple(error for link in links for error in link.judgment.errors)
        self.verdict = contracts.strictest(self.clauses)
        self.questions = tuple(
            replace(question, fact=link.prefix + question.fact)
            for link in links
            for question in link.judgment.questions
        )

    @classmethod
    def denied(cls, agent: str, clause: str, because: str, severity: Severity = "minor") -> Ruling:
        """A denial that no contract had to be asked for."""
        judgment = Judgment(
            verdict="DENY", clauses=(Decided(id=clause, then="deny", severity=severity, because=because),), facts={},
            arguments=None, affects={}, uses=(), hint=None, errors=(),
        )  # fmt: skip
        return cls((_Link(agent, "", judgment),))

    def too_much(self) -> Ruling:
        """The denial that stands for what no entry has room for; as grave as the gravest of what spoke."""
        gravest = reduce(worse, (clause.severity for clause in self.clauses), "minor")
        return Ruling.denied(self._links[-1].agent, "evaluation.error", TOO_MUCH, cast("Severity", gravest))

    def with_clause(self, clause: Decided | None) -> Ruling:
        """The same with one more clause that spoke."""
        if clause is not None:
            self.clauses = (*self.clauses, clause)
            self.verdict = contracts.strictest(self.clauses)
        return self

    def has(self, *ids: str) -> bool:
        """Whether one of these clauses spoke."""
        return any(clause.id in ids for clause in self.clauses)

    @property
    def because(self) -> str:
        """The reasons of what spoke, in words."""
        words = [clause.because for clause in self.clauses if clause.because]
        said = " ".join(word if word.endswith((".", "!", "?")) or word is words[-1] else f"{word};" for word in words)
        decided = ", ".join(clause.id for clause in self.clauses if clause.then != "record")
        return said or (f"Decided by {decided}." if decided else "Inside the contract.")

    @property
    def hint(self) -> str | None:
        """What it would take to be allowed."""
        if self.verdict == "ALLOW":
            return None
        said = [link.judgment.hint for link in reversed(self._links) if link.judgment.hint]
        more = advice(clause.id for clause in self.clauses if clause.then == "deny")
        return " ".join([*said, *([more] if more else [])]) or None

    def uses(self, turn: Turn) -> tuple[kinds.Use2, ...]:
        """How far every limit of every contract is used, as it stands in the decision; new key values are minted."""
        return tuple(
            [
                kinds.Use2(
                    limit=link.prefix + use.limit.id,
                    key=turn.token("limit", _key_text(use.limit.id, use.key)) if use.key else None,
                    used=use.used,
                    at_most=use.at_most,
                    reserved=use.taken(self.verdict),
                    agent=link.agent,
                    measure="gives" if use.gives else use.limit.kind,
                    adds=use.adds,
                )
                for link in reversed(self._links)
                for use in link.judgment.uses
            ]
        )


class Judges:
    """The contracts in force, compiled once for each (contract, floors). Called only from the writer's thread."""

    def __init__(self, novelty: Novelty) -> None:
        self._novelty = novelty
        self._compiled: dict[tuple[str, ...], contracts.Compiled] = {}

    def rule(
        self, turn: Turn, proposal: Any, run: rows.Run, passed: frozenset[str], answers: Mapping[str, Looked] | None
    ) -> Ruling:
        """Judge `proposal` under the contract of its agent and of every agent that handed the run over.

        Raises FailwellError for a contract that is missing or cannot be judged by.
        """
        proposed = contracts.Proposal(tool=proposal.tool, arguments=proposal.arguments, reason=proposal.reason)
        novel = self._novelty.of(proposal.agent, proposal.run, proposal.tool, proposal.arguments)
        links = []
        for agent in (*run.chain, proposal.agent):
            row = turn.state.agent[agent]
            prefix = "" if agent == proposal.agent else f"{row.name}/"
            if row.contract is None:
                because = f"{row.name} handed this work over and has no contract."
                links.append(_Link(agent, prefix, Ruling.denied(agent, "contract.absent", because).judgment))
                continue
            if prefix and (taken_back := _taken_back(turn, agent, run)) is not None:
                links.append(_Link(agent, prefix, Ruling.denied(agent, "delegation", taken_back).judgment))
                continue
            compiled = self._compile(turn, agent, row.contract)
            situation = self._situation(turn, agent, row, run, proposal.run, prefix, passed, answers, novel)
            links.append(_Link(agent, prefix, compiled.judge(proposed, situation)))
        return Ruling(tuple(links), tuple(_lookups(links, answers)) if answers else ())

    def _compile(self, turn: Turn, agent: str, digest: str) -> contracts.Compiled:
        floors = turn.state.floors_of(agent)
        place = (digest, *(contracts.floor_digest(floor) for floor in floors)) if floors else (digest,)
        if place not in self._compiled:
            document = turn.state.contract[digest].document
            self._compiled[place] = contracts.compile(contracts.from_canonical(document.encode()), floors)
        return self._compiled[place]

    def _situation(
        self, turn: Turn, agent: str, row: rows.Agent, run: rows.Run, number: int | None, prefix: str,
        passed: frozenset[str], answers: Mapping[str, Looked] | None, new: Novel,
    ) -> Situation:  # fmt: skip
        state = turn.state
        authority = row.authority
        if authority == "OBSERVED" and turn.now_us >= (row.observed_until_us or 0):
            authority = "OBSERVED, and its time is over"

        def usage(limit: contracts.Limit, key: tuple[str, ...]) -> int:
            # Key values are looked up as their token: a value never seen has used nothing.
            token = turn.known_token("limit", _key_text(limit.id, key)) if key else None
            if key and token is None:
                return 0
            return state.measured(agent, limit, token, state.limit_us(turn.now_us), number)

        def acts_for(principal: str) -> bool:
            if ":" not in principal:
                return run.principal_kind == principal
            return run.principal is not None and turn.known_token("principal", principal) == run.principal

        looked = answers
        if answers is not None and prefix:
            looked = {fact.removeprefix(prefix): item for fact, item in answers.items() if fact.startswith(prefix)}
        return Situation(
            authority=authority, now_us=turn.now_us, request=cast("Provenance", run.request), novel=new.novel,
            baseline=new.baseline, usage=usage, acting_for=cast("Provenance", run.principal_provenance),
            acts_for=acts_for, principal=run.principal, run=number, looked=looked,
            passed=_behind(prefix, passed) if prefix else passed,
        )  # fmt: skip


def _behind(prefix: str, ids: frozenset[str]) -> frozenset[str]:
    """The ids that stand behind a delegator's prefix, as its own contract knows them."""
    return frozenset(item.removeprefix(prefix) for item in ids if item.startswith(prefix))


def lets_hand_over(turn: Turn, agent: str, to: str) -> bool:
    """Whether the contract in force of `agent` lets it hand work to the agent `to`."""
    contract = turn.state.contract_of(agent)
    return contract is not None and bool({to, turn.state.agent[to].name} & set(contract.delegates))


def _taken_back(turn: Turn, agent: str, run: rows.Run) -> str | None:
    """Why what `agent` handed over with the run is not handed over any more; None where it is, or it never was."""
    if agent not in run.chain:
        return None
    name = turn.state.agent[agent].name
    receiver = (*run.chain, run.agent)[run.chain.index(agent) + 1]
    if not lets_hand_over(turn, agent, receiver):
        return f"The contract of {name} lets it hand no work to {turn.state.agent[receiver].name}."
    parent = run.parent
    while parent is not None:
        above = turn.state.run.get(parent)
        if above is None:
            return "The run that handed this work over is closed."
        parent = above.parent
    return None


def _lookups(links: list[_Link], answers: Mapping[str, Looked]) -> Iterator[kinds.Lookup]:
    """How each question went, for the record; whose contract asked stands before its fact."""
    judged = {link.prefix: link.judgment for link in links}
    for fact, answer in sorted(answers.items()):
        owner, slash, name = fact.rpartition("/")
        judgment = judged.get(owner + slash)
        state = answer.state if judgment is None else contracts.state_of(name, answer, judgment)
        yield kinds.Lookup(fact=fact, source=answer.source, state=state, elapsed_us=answer.elapsed_us)


def _key_text(limit: str, key: tuple[str, ...]) -> str:
    return _TEXT.encode((limit, *key)).decode()
