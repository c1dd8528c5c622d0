"""Whether clauses, limits and response rules make sense: ids, what they name, expressions, signals."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from failwell.core.contract.expression import Reads
from failwell.core.contract.judgment import NOT_THE_AGENTS, RESERVED, STOPPED
from failwell.core.contract.limit_checks import LimitChecks
from failwell.core.contract.model import Clause, Limit, Rule
from failwell.core.contract.nearest import meant
from failwell.core.contract.policy import compile_policy
from failwell.core.contract.scope import MAX_TEXT_LENGTH, Path, Scope
from failwell.core.contract.signal import (
    COMPENSATE,
    DELEGATE,
    ENSURE,
    LONGEST_WINDOW_US,
    NOTICED,
    OBJECTIVE,
    OBJECTIVES,
    THEN_OF_VERB,
    expand_do,
    parse_signal,
)
from failwell.core.errors import InputError

RULE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
#: What a host or a detector calls what it noticed.
NOTICE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
#: Reserved ids that another verb than `denied` can be about.
_RESERVED_THEN = {"authority.restricted": ("deny", "escalate")}


class RuleChecks(Scope):
    """The rules of one contract under check."""

    def all(self) -> None:
        """Note everything about the rules."""
        self.rules()
        for number, clause in enumerate(self.contract.clauses):
            self.clause(number, clause)
        LimitChecks(self.contract, self.notes, self.types).all()
        self.expressions()
        for number, rule in enumerate(self.contract.response):
            self.response(number, rule)

    # ---- clauses and limits ------------------------------------------------------------------------------

    def rules(self) -> None:
        """Ids, tools and texts that clauses and limits have in common."""
        seen: set[str] = set()
        for path, what, rule in self._numbered_rules():
            self._rule(path, what, rule, seen)

    def _rule(self, path: Path, what: str, rule: Clause | Limit, seen: set[str]) -> None:
        self.spelled((*path, "id"), f"The id of {what}", rule.id, RULE_ID, "refund-ceiling")
        if rule.id in seen or rule.id in RESERVED:
            self.error(
                (*path, "id"),
                f"The id {rule.id} is taken.",
                "Ids stand in verdicts.",
                "Choose another id.",
            )
        seen.add(rule.id)
        if rule.because is not None and not 1 <= len(rule.because) <= MAX_TEXT_LENGTH:
            self.error(
                (*path, "because"),
                f"{what}: because is empty or too long.",
                "People read it.",
                "Shorten it.",
            )
        blast = isinstance(rule, Limit) and rule.kind == "blast"  # is about every tool that cannot be undone
        if (not rule.tools and not blast) or len(set(rule.tools)) != len(rule.tools):
            self.error(path, f"{what} names no tool, or one twice.", "It would not be clear.", "Name each once.")
        for tool in rule.tools:
            if tool not in self.types:
                mend = meant(tool, self.types) or "List the tool, or drop the rule."
                self.error(path, f"{what} names {tool}.", "The tool is not listed.", mend)

    def _numbered_rules(self) -> Iterable[tuple[Path, str, Clause | Limit]]:
        for number, clause in enumerate(self.contract.clauses):
            yield ("clauses", number), f"clause {clause.id}", clause
        for number, limit in enumerate(self.contract.limits):
            yield ("limits", number), f"limit {limit.id}", limit

    def clause(self, number: int, clause: Clause) -> None:
        """Bounds of one clause that its records do not show."""
        if clause.when is None or "context.novel" not in clause.when or "context.baseline" in clause.when:
            return
        self.warn(
            ("clauses", number, "when"),
            f"clause {clause.id} sleeps until a baseline is locked.",
            "Until then context.novel is empty.",
            'Add: || context.baseline != "locked".',
            clause.when,
        )

    def expressions(self) -> None:
        """Compile the clauses of every tool and place what Cedar and the analysis say."""
        if any(finding.level == "error" for finding in self.notes.findings):
            return  # what follows from a wrong type or name would only hide it
        numbers = {clause.id: number for number, clause in enumerate(self.contract.clauses)}
        for tool, types in self.types.items():
            clauses = tuple(clause for clause in self.contract.clauses if tool in clause.tools)
            looked = self.looked.get(tool, {})
            _, reads, unsound = compile_policy(self.contract.agent, tool, clauses, types, looked)
            for clause in clauses:
                path: Path = ("clauses", numbers[clause.id], "when")
                if (error := unsound.get(clause.id)) is not None:
                    reason, mend = f"{error.message.rstrip('.')}.", error.hint or ""
                    self.error(path, f"clause {clause.id} could fail.", reason, mend, clause.when or "")
                else:
                    self._reach(path, clause, tool, reads[clause.id])
            if not unsound:
                self._shadowed(tool, clauses, reads)

    def _shadowed(self, tool: str, clauses: tuple[Clause, ...], reads: Mapping[str, Reads]) -> None:
        """Rules that an unconditional clause leaves nothing to say about `tool`."""
        always = [clause for clause in clauses if not reads[clause.id].holds.avoidable]
        denied = next((clause for clause in always if clause.then == "deny"), None)
        asked = next((clause for clause in always if clause.then == "escalate"), None)
        for number, clause in enumerate(self.contract.clauses):
            over = denied or (asked if clause.then == "escalate" else None)
            if over is not None and clause is not over and tool in clause.tools:
                self._idle(("clauses", number), f"clause {clause.id}", tool, over)
        for number, limit in enumerate(self.contract.limits):
            if denied is not None and limit.tools == (tool,) and limit.kind != "rate":
                self._idle(("limits", number), f"limit {limit.id}", tool, denied)

    def _idle(self, path: Path, what: str, tool: str, over: Clause) -> None:
        word = "denies" if over.then == "deny" else "escalates"
        mend = "Drop one of the two, or say when."
        self.warn(path, f"{what} changes nothing for {tool}.", f"clause {over.id} always {word} it.", mend)

    def _reach(self, path: Path, clause: Clause, tool: str, reads: Reads) -> None:
        if not reads.holds.possible:
            self.warn(
                path,
                f"clause {clause.id} never holds for {tool}.",
                "No declared value reaches it.",
                "Compare with the declared ranges (amounts are in the smallest unit).",
                clause.when or "",
            )

    # ---- response and escalation -------------------------------------------------------------------------

    def response(self, number: int, rule: Rule) -> None:
        """Window, words and signal of one response rule."""
        path: Path = ("response", number)
        if not rule.do or rule.do != expand_do(rule.do):
            mend = "Write do: [record]."
            self.error((*path, "do"), "A response rule does nothing.", "Its words are missing.", mend)
        windowless = rule.within_us == 0 and rule.at_least != 1
        if rule.at_least < 1 or windowless or not 0 <= rule.within_us <= LONGEST_WINDOW_US:
            mend = "Write >= 3 in 10m."
            self.error((*path, "signal"), "A response rule counts nothing.", "Its window is off.", mend)
        try:
            signal = parse_signal(rule.signal)
        except InputError as error:
            self.error((*path, "signal"), "A signal is not known.", f"{error.message}.", error.hint or "")
            return
        if signal.about is None:
            return
        if signal.verb in THEN_OF_VERB:
            self._raised((*path, "signal"), signal.name, signal.about, THEN_OF_VERB[signal.verb])
            return
        if signal.verb == NOTICED:
            self.spelled((*path, "signal"), f"The name in {signal.name}", signal.about, NOTICE, "answer-off-topic")
            return
        known, why, otherwise = self._known_to(signal.verb)
        if signal.about not in known:
            mend = meant(signal.about, known) or otherwise
            self.error((*path, "signal"), f"{signal.name} is never raised.", why, mend)

    def _known_to(self, verb: str) -> tuple[Collection[str], str, str]:
        """What signals of a verb can be about; why another name is none, and what to write instead."""
        tools = self.contract.tools
        if verb == ENSURE:
            checks = [ensure.name for tool in tools for ensure in tool.ensure]
            return checks, "There is no such ensure.", "Name an ensure of one of the tools."
        if verb == COMPENSATE:
            undone = [tool.tool for tool in tools if tool.compensate is not None]
            return undone, "No such tool is ever undone.", "Name a tool that has a compensate."
        if verb == DELEGATE:
            return self.contract.delegates, "It hands work to no such agent.", "Name one of delegates."
        if verb == OBJECTIVE:
            return OBJECTIVES, "There is no such objective.", f"Objectives are: {', '.join(OBJECTIVES)}."
        return [tool.tool for tool in tools], "The tool is not listed.", "List the tool, or drop the rule."

    def _raised(self, path: Path, name: str, about: str, asked: str) -> None:
        """A rule on a signal that is never raised would look like protection."""
        then_of = {rule.id: (rule.then,) for _, _, rule in self._numbered_rules()}
        possible: tuple[str, ...] | None = then_of.get(about)
        if about in NOT_THE_AGENTS:
            why = "It says that Failwell was not healthy, never that the agent failed: nothing follows from it."
            mend = "Leave it out; failwell doctor and health tell of it."
            if about == STOPPED:
                why = "It says that people stopped more than this agent, never that it failed: nothing follows from it."
                mend = "Leave it out; failwell stop list tells of it."
            self.error(path, f"{name} is never answered.", why, mend)
            return
        if possible is None and about in RESERVED:
            possible = _RESERVED_THEN.get(about, ("deny",))
        if possible is None:
            mend = meant(about, then_of) or "Name a clause or limit of this contract."
            self.error(path, f"{name} is never raised.", "There is no such id.", mend)
        elif asked not in possible:
            verb = next(verb for verb, then in THEN_OF_VERB.items() if then in possible)
            self.error(path, f"{name} is never raised.", f"It decides {possible[0]}.", f"Write {verb}({about}).")
