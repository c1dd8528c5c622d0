"""`transactional`: the tool's work is one transaction of a database, which is asked whether it was committed.

The mark of the action stands in that transaction (`execute.transaction`). After a stop it is looked for: absent, and
its place taken, means rolled back for good; present means that the work was done before the stop; anything else is
unconfirmed and asked again. A tool that ends well without its mark works outside of what was declared: that is said,
and none of its later stops is taken for rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from failwell.execute import marks
from failwell.node.endings.statement import BY_ITSELF, Proof, Shown, Statement
from failwell.ports.executor import Ended, State

#: How long the database's lock is waited for at a stop, and for an action that ended by itself.
STOP_WAIT_S, READ_WAIT_S = 2.0, 1.0
LATER_S = (1.0, 5.0, 15.0, 60.0, 300.0)
OUTSIDE = "it ended well, and its mark is not in the transaction that was declared: its work was no part of that"
DOUBTED = "an earlier run of this tool ended well without its mark, so that its transaction shows nothing"


class Transactional:
    """One action, whose mark is `mark` in the file `file` at `path`. `doubted`: the tool's marks show nothing;
    `doubt` is called when that turns out.
    """

    def __init__(
        self, path: str, mark: str, file: marks.Identity, *, doubted: Callable[[], bool], doubt: Callable[[], None],
        mono_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._path = path
        self._mark = mark
        self._file = file
        self._doubted = doubted
        self._doubt = doubt
        self._mono_us = mono_us

    def ordered(self) -> None:
        """Killing it is all: what is not committed then never is."""

    def say(self, end: Ended, *, ordered: bool) -> Statement:
        """What the database says, over what its processes' end says."""
        if end.state == "blocked":
            return Statement(end)
        if end.state in BY_ITSELF and not ordered:
            return Statement(self._by_itself(end))
        return self._stopped(end, ordered)

    def overtaken(self, end: Ended) -> Statement:
        """It had ended by itself, and what the database said of that stands."""
        return Statement(end)

    def _by_itself(self, end: Ended) -> Ended:
        looked = marks.look(self._path, self._mark, self._file, READ_WAIT_S)
        if end.state == "completed" and looked.state == "absent":
            self._doubt()
            return replace(end, why=OUTSIDE)
        if end.state == "completed" and looked.state == "unknown":
            return replace(end, why=f"whether its transaction was committed is not known: {looked.why}")
        if end.state == "failed" and looked.state == "present":
            return replace(end, why=f"{end.why}; it had committed its transaction before: its mark is there")
        return end

    def _stopped(self, end: Ended, ordered: bool) -> Statement:
        looked = marks.void(self._path, self._mark, self._file, STOP_WAIT_S)
        if end.state == "interrupted_unconfirmed":
            word = {
                "absent": "its transaction cannot be committed any more", "present": "its transaction was committed",
                "unknown": f"whether its transaction was committed is not known: {looked.why}",
            }[looked.state]  # fmt: skip
            return Statement(replace(end, why=f"{end.why}; {word}"))
        if looked.state == "absent" and end.exit_code == 0:
            self._doubt()
        if self._doubted():
            return Statement(replace(end, state="interrupted_unconfirmed", why=DOUBTED))
        if looked.state == "unknown":
            why = f"nothing of it is left; whether its transaction was committed is not known: {looked.why}"
            proof = Proof(self._later(end), LATER_S, self._path)
            return Statement(replace(end, state="interrupted_unconfirmed", why=why), proof)
        if looked.state == "absent":
            return Statement(replace(end, state="interrupted_confirmed", proven_by=self._rolled_back(end)))
        by_itself = end.state == "unknown" and not ordered
        state: State = "completed" if by_itself else "completed_after_interrupt"
        return Statement(replace(end, state=state, proven_by=self._committed(end)))

    def _later(self, end: Ended) -> Callable[[], Shown | str]:
        def look() -> Shown | str:
            looked = marks.void(self._path, self._mark, self._file, STOP_WAIT_S)
            if looked.state == "absent":
                return Shown(self._rolled_back(end), self._mono_us())
            if looked.state == "present":
                return Shown(self._committed(end), self._mono_us(), "completed_after_interrupt")
            return looked.why

        return look

    def _rolled_back(self, end: Ended) -> str:
        return f"{end.proven_by}; rolled back: its mark is not in {self._path}, and cannot be set any more"

    def _committed(self, end: Ended) -> str:
        return f"{end.proven_by}; committed: its mark is in {self._path}"
