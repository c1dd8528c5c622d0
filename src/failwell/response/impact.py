"""The impact of an incident: which resources, customers and amounts; undone or not; who was handed results (R11).

Pure: from the acts of its span (`response.acts`), the contracts they were decided under, and values that the caller
reveals. Wrong is what the record speaks against, touched is everything in the span; where nobody can say, it says so
and counts at the worse. Reads touch nobody: they are counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds, rows, undoing
from failwell.core.contract import Contract, Tool
from failwell.core.fact_keys import key_of
from failwell.core.incidents.customers import place_of
from failwell.core.records import Entry
from failwell.response.acts import Act, Acts, Wrong, spoken_of_before
from failwell.response.downstream import Handed, RowOf, handed, with_acts
from failwell.response.reach import Reach, amount_argument, major, places_of

#: Acts that one answer tells of; those that are wrong first. `more` counts the rest.
TOLD_ACTS = 5000


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """One act as it is told. `happened`: yes or perhaps. `shown_by`: witnessed, outcome or unknown. `undone` is how its
    undoing stands, None where none was ordered; `amount` is decimal text, None where none was named or it was erased.
    """

    action: int | None
    at: str
    agent: str
    run: int | None
    tool: str
    effect: str
    customers: tuple[str, ...]
    resource: str | None
    amount: str | None
    effects: int
    happened: str
    shown_by: str
    undone: str | None
    wrong: tuple[Wrong, ...]
    entries: tuple[int, ...]
    outcome: int | None


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer: how many effects reached them, of wrong acts and of all, and what people have said since.

    `perhaps`: of the wrong ones nobody can say whether they happened. `shown` is an entry that names them. `told` and
    `restored` are the entries by which a person says so.
    """

    customer: str
    name: str
    wrong: int
    touched: int
    perhaps: int
    undone: int
    resources: tuple[str, ...]
    amounts: dict[str, str]
    shown: int
    entries: tuple[int, ...]
    told: int | None
    restored: int | None


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A resource that acts named, and how many of them: wrong, and of all."""

    resource: str
    name: str
    wrong: int
    touched: int
    entries: tuple[int, ...]


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool's acts add up to, in major units: wrong, of that undone, of all; and what was refused meanwhile.

    `unknown`: acts whose amount nobody can tell any more; the sums lack them.
    """

    tool: str
    argument: str
    wrong: str
    undone: str
    touched: str
    refused: str
    unknown: int


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `span` is (first entry, the one it ended with: None while it goes on)."""

    incident: int
    agent: str
    name: str
    span: tuple[int, int | None]
    wrong: int
    touched: int
    perhaps: int
    undone: int
    irreversible: int
    reads: int
    refused: int
    counted_from: tuple[str, ...]
    acts: tuple[Touched, ...]
    more: int
    customers: tuple[Customer, ...]
    resources: tuple[Resource, ...]
    amounts: tuple[Amount, ...]
    reach: Reach | None
    downstream: tuple[Handed, ...]
    unknown: tuple[str, ...]


class Known(NamedTuple):
    """What entries alone do not tell.

    `terms`: the contract of an agent by its `ID@VERSION`; `facts`: what of a decision lies in its blob (empty where it
    was erased); `names`: what tokens stand for, as far as it is kept; `row_of`: a run's row; `said`: what people said
    of its customers.
    """

    terms: Callable[[str, str], Contract | None]
    facts: Callable[[int], Mapping[str, Any]]
    names: Callable[[set[str]], Mapping[str, str]]
    row_of: RowOf
    said: Mapping[str, rows.Customer]


#: Gives the entries from a number on, in order; called more than once.
Pages = Callable[[int], Iterable[Entry[Any]]]


def impact(
    number: int, row: rows.Incident, agent: rows.Agent | None, pages: Pages, known: Known, reach: Reach | None = None,
    *, most: int = TOLD_ACTS,
) -> Impact:  # fmt: skip
    """Tell the impact of an incident, and at most `most` acts one by one.

    Of one whose agent nobody knows yet nothing is told but that.
    """
    first = min(row.onset_first, row.opened)
    if agent is None:
        return _nobody(number, row, first)
    earlier = spoken_of_before(number, row.agent, first, pages(first))
    taken = Acts(number, row.agent, first, earlier)
    opened: list[tuple[int, int]] = []
    for entry in pages(min(earlier, default=first)):
        taken.take(entry)
        if isinstance(entry.body, kinds.RunOpened2) and entry.body.parent is not None:
            opened.append((entry.seq, entry.body.parent))
    gathered = taken.acts()
    seen = _Seen(known, known.names({token for act in gathered for token in _tokens(act)}))
    told = [seen.touched(act) for act in gathered]
    acts = [act for act in told if act.effect != "read"]
    wrong = [act for act in acts if act.wrong]
    ordered = sorted(acts, key=lambda act: (not act.wrong, min(act.entries)))
    found = handed(_tainted(told), known.row_of, opened)
    if any(each.how != "own" for each in found):
        found = with_acts(found, pages(min(each.since for each in found)), seen.is_act)
    return Impact(
        incident=number, agent=row.agent, name=agent.name, span=(min(earlier, default=first), taken.over),
        wrong=len(wrong), touched=len(acts), perhaps=sum(act.happened == "perhaps" for act in wrong),
        undone=sum(act.undone == undoing.REVERSED for act in wrong),
        irreversible=sum(act.effect == "irreversible" for act in wrong), reads=len(told) - len(acts),
        refused=len(taken.refused), counted_from=tuple(sorted(taken.witnesses)), acts=tuple(ordered[:most]),
        more=max(0, len(ordered) - most), customers=seen.customers(number), resources=seen.resources(),
        amounts=seen.amounts(taken.refused), reach=reach, downstream=_named(found, known),
        unknown=tuple(_unknown(acts, wrong, taken, reach)),
    )  # fmt: skip


def _nobody(number: int, row: rows.Incident, first: int) -> Impact:
    return Impact(
        incident=number, agent="", name="", span=(first, None), wrong=0, touched=0, perhaps=0, undone=0, irreversible=0,
        reads=0, refused=0, counted_from=(), acts=(), more=0, customers=(), resources=(), amounts=(), reach=None,
        downstream=(), unknown=("which agent it was: nothing can be counted before somebody says so",),
    )  # fmt: skip


def _tainted(told: Iterable[Touched]) -> dict[int, int]:
    """Runs that something went wrong in, each with the entry from which on its results are: the first wrong outcome."""
    tainted: dict[int, int] = {}
    for act in told:
        if act.wrong and act.run is not None:
            since = min(act.entries) if act.outcome is None else act.outcome
            tainted[act.run] = min(tainted.get(act.run, since), since)
    return tainted


def _tokens(act: Act) -> Iterable[str]:
    yield from (token for token, _ in act.customers())
    if act.decision is not None and act.decision.body.resource is not None:
        yield act.decision.body.resource


def _named(found: tuple[Handed, ...], known: Known) -> tuple[Handed, ...]:
    wanted = {each.principal for each in found if each.principal is not None}
    names = known.names(wanted) if wanted else {}
    return tuple(
        msgspec.structs.replace(each, principal=names.get(str(each.principal), each.principal)) for each in found
    )


def _unknown(acts: list[Touched], wrong: list[Touched], taken: Acts, reach: Reach | None) -> Iterable[str]:
    """What nobody can say, so that no figure is taken for more than it is."""
    unseen = sorted({act.tool for act in acts if act.shown_by != "witnessed"})
    if unseen:
        yield f"what came of {', '.join(unseen)} at the tool's own side: counted by what was decided and reported"
    perhaps = sum(act.shown_by == "unknown" for act in acts)
    if perhaps:
        yield f"whether {perhaps} of {len(acts)} acts happened: they were stopped on the way, or their end is lost"
    nameless = sum(not act.customers for act in wrong)
    if nameless:
        yield f"which customers {nameless} of {len(wrong)} wrong acts reached: their contract names none (affects)"
    if acts and not wrong:
        yield "which of these acts were wrong: no limit, look at the world or person speaks against any of them"
    if taken.over is None:
        yield "what comes after this: the agent was not given back, and the case is not resolved"
    if reach is not None:
        yield from reach.unknown


class _Seen:
    """Acts as they are told, and what they add up to by customer, resource and tool."""

    def __init__(self, known: Known, names: Mapping[str, str]) -> None:
        self._known = known
        self._names = names
        self._terms: dict[tuple[str, str], dict[str, Tool]] = {}
        self._told: list[tuple[Act, Touched]] = []

    # -- acts --------------------------------------------------------------------------------------------------

    def touched(self, act: Act) -> Touched:
        decided = act.decision
        tool = None if decided is None else self._tool(decided)
        resource = None if decided is None else decided.body.resource
        told = Touched(
            action=None if decided is None else decided.seq, at=act.at, agent=act.agent,
            run=None if decided is None else decided.run, tool=act.tool,
            effect="irreversible" if tool is None else tool.effect,
            customers=tuple(self._name(token) for token, _ in act.customers()),
            resource=None if resource is None else self._name(resource),
            amount=None if decided is None else self._amount(decided, tool), effects=len(act.effects),
            happened=act.happened, shown_by=act.shown_by, undone=act.undoing, wrong=act.wrong, entries=act.entries,
            outcome=None if act.outcome is None else act.outcome.seq,
        )  # fmt: skip
        self._told.append((act, told))
        return told

    def _name(self, token: str) -> str:
        return self._names.get(token, token)

    def is_act(self, entry: Entry[Any]) -> bool:
        """Whether a decision let pass what has an effect."""
        body = entry.body
        tool = self._tool(entry)
        lets = body.verdict == "ALLOW" or not getattr(body, "governed", True)
        return lets and (tool is None or tool.effect != "read")

    def _tool(self, decided: Entry[kinds.Decision]) -> Tool | None:
        """The tool as the contract had it that the action was decided under."""
        if decided.body.contract is None:
            return None
        place = str(decided.agent), decided.body.contract
        if place not in self._terms:
            contract = self._known.terms(*place)
            self._terms[place] = {} if contract is None else {tool.tool: tool for tool in contract.tools}
        return self._terms[place].get(decided.body.tool)

    def _amount(self, decided: Entry[kinds.Decision], tool: Tool | None) -> str | None:
        name = None if tool is None else amount_argument(tool)
        fact = None if name is None else decided.body.facts.get(key_of(name))
        if tool is None or name is None or fact is None:
            return None
        value = fact.value if fact.public else self._known.facts(decided.seq).get(key_of(name))
        return major(value, places_of(tool, name) or 0) if type(value) is int else None

    # -- what they add up to -----------------------------------------------------------------------------------

    def customers(self, number: int) -> tuple[Customer, ...]:
        reached: dict[str, list[tuple[Touched, int]]] = {}
        for act, told in self._told:
            if told.effect != "read":
                for token, effects in act.customers():
                    reached.setdefault(token, []).append((told, effects))
        found = [self._customer(number, token, acts) for token, acts in reached.items()]
        return tuple(sorted(found, key=lambda one: (-one.wrong, -one.touched, one.name)))

    def _customer(self, number: int, token: str, acts: list[tuple[Touched, int]]) -> Customer:
        said = self._known.said.get(place_of(number, token)) or rows.Customer(told=None, restored=None)
        wrong = [(act, effects) for act, effects in acts if act.wrong]
        entries = sorted({seq for act, _ in wrong or acts for seq in act.entries})
        return Customer(
            customer=token, name=self._name(token), wrong=sum(effects for _, effects in wrong),
            touched=sum(effects for _, effects in acts),
            perhaps=sum(effects for act, effects in wrong if act.happened == "perhaps"),
            undone=sum(effects for act, effects in wrong if act.undone == undoing.REVERSED),
            resources=tuple(dict.fromkeys(act.resource for act, _ in wrong or acts if act.resource is not None)),
            amounts=_sums(act for act, _ in wrong), shown=entries[0], entries=tuple(entries), told=said.told,
            restored=said.restored,
        )  # fmt: skip

    def resources(self) -> tuple[Resource, ...]:
        by_token: dict[str, list[Touched]] = {}
        for act, told in self._told:
            if told.effect != "read" and act.decision is not None and act.decision.body.resource is not None:
                by_token.setdefault(act.decision.body.resource, []).append(told)
        found = [
            Resource(
                resource=token,
                name=self._name(token),
                wrong=sum(bool(act.wrong) for act in acts),
                touched=len(acts),
                entries=tuple(sorted({seq for act in acts for seq in act.entries})),
            )
            for token, acts in by_token.items()
        ]
        return tuple(sorted(found, key=lambda one: (-one.wrong, -one.touched, one.name)))

    def amounts(self, refused: Iterable[Entry[kinds.Decision]]) -> tuple[Amount, ...]:
        sums: dict[tuple[str, str], dict[str, Decimal]] = {}
        lost: dict[tuple[str, str], int] = {}
        for act, told in self._told:
            if act.decision is not None and told.effect != "read":
                kept = ["touched", *(["wrong"] if told.wrong else [])]
                kept += ["undone"] if told.wrong and told.undone == undoing.REVERSED else []
                self._add(sums, lost, act.decision, told.amount, kept)
        for decided in refused:
            self._add(sums, lost, decided, self._amount(decided, self._tool(decided)), ["refused"])
        return tuple(
            Amount(
                tool=tool,
                argument=name,
                unknown=lost.get((tool, name), 0),
                **{key: str(found.get(key, Decimal(0))) for key in ("wrong", "undone", "touched", "refused")},
            )
            for (tool, name), found in sorted(sums.items())
        )

    def _add(
        self, sums: dict[tuple[str, str], dict[str, Decimal]], lost: dict[tuple[str, str], int],
        decided: Entry[kinds.Decision], amount: str | None, kept: list[str],
    ) -> None:  # fmt: skip
        tool = self._tool(decided)
        name = None if tool is None else amount_argument(tool)
        if name is None:
            return
        place = decided.body.tool, name
        found = sums.setdefault(place, {})
        if amount is None:
            # What was refused may have named none that could be read; only of what was done a sum lacks something.
            lost[place] = lost.get(place, 0) + ("refused" not in kept)
            return
        for key in kept:
            found[key] = found.get(key, Decimal(0)) + Decimal(amount)


def _sums(acts: Iterable[Touched]) -> dict[str, str]:
    """What a customer's wrong acts add up to, by tool; what was undone is out of it."""
    sums: dict[str, Decimal] = {}
    for act in acts:
        if act.amount is not None and act.undone != undoing.REVERSED:
            sums[act.tool] = sums.get(act.tool, Decimal(0)) + Decimal(act.amount)
    return {tool: str(total) for tool, total in sorted(sums.items())}
