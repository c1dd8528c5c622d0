"""Trusted sources: what the node asks about the world on behalf of a contract, never through an agent (D23)."""

from __future__ import annotations

from failwell.core.contract import Looked, Question
from failwell.gate.verdicts import Asked, Unanswered


class Sources:
    """Asks the sources that the settings declare."""

    async def ask(self, unanswered: Unanswered) -> Asked:
        """The answers to all questions; each that cannot be had says why."""
        answers = {question.fact: self._answer(question) for question in unanswered.questions}
        return Asked(answers=answers, contract=unanswered.contract)

    def _answer(self, question: Question) -> Looked:
        return Looked(source=question.source, state="failed", elapsed_us=0, detail="no such source is declared")
