"""From entries about pages to their rows: attempts, what came back, what was bundled, what was answered."""

from __future__ import annotations

from typing import Any

from failwell.core import kinds, rows
from failwell.core.ends import mark
from failwell.core.errors import Corrupt
from failwell.core.escalation import due, proofs
from failwell.core.escalation.digests import sent
from failwell.core.escalation.followup import ring
from failwell.core.escalation.path import EMAIL
from failwell.core.escalation.stepping import STEP, queued, told
from failwell.core.following import BESIDE, Fold
from failwell.core.projections import Projections
from failwell.core.records import Entry

#: What letters are about that are told at once, each by its own: whoever reads them is to act now.
NEVER_HELD = frozenset({"", "next-step", "break-glass"})
#: What goes before everything that may wait.
URGENT = NEVER_HELD | {STEP}


def _queued(state: Projections, entry: Entry[Any], body: kinds.PageQueued, at_us: int) -> None:
    if body.page != state.pages + 1:
        raise Corrupt(f"entry {entry.seq} queues page {body.page} after {state.pages}")
    state.pages = body.page
    row = rows.Page(
        incident=body.incident, ticket=body.ticket if isinstance(body, kinds.PageQueued2) else None,
        agent=entry.agent, person=body.person, channel=body.channel, step=body.step, state="queued", attempts=0,
        due_us=body.due_us, why=body.why, about=body.about if isinstance(body, kinds.PageQueued3) else "",
        cycle=getattr(body, "cycle", 0), round=getattr(body, "round", 1), persons=getattr(body, "persons", ()),
        digest=getattr(body, "digest", None),
    )  # fmt: skip
    state.put("page", body.page, row)
    if row.ticket is not None:
        state.change("agent", entry.agent, asked_us=at_us)
    if isinstance(body, kinds.PageQueued4) and body.incident is not None:
        queued(state, body)
        ring(state, body)


def _attempted(state: Projections, entry: Entry[Any], body: kinds.PageAttempted, at_us: int) -> None:
    row = state.page.get(body.page)
    if row is None:
        raise Corrupt(f"entry {entry.seq} attempts page {body.page}, which is not queued")
    now = "accepted" if body.accepted else ("queued" if body.next_due_us is not None else "failed")
    permanent = getattr(body, "permanent", False)
    state.change(
        "page", body.page, state=now, attempts=body.attempt, due_us=body.next_due_us or row.due_us, permanent=permanent
    )
    if now != "queued":
        state.forget("page", body.page)
    sent(state, row, getattr(body, "token", None))
    if row.incident is not None and row.cycle:
        told(
            state, row.incident, body.page, state="failed" if permanent and not body.accepted else now,
            **_carried(getattr(body, "token", None)),
        )  # fmt: skip
    if body.accepted and row.about not in BESIDE:
        mark(state, row.incident, "NOTIFIED", entry.seq)


def _carried(token: str | None) -> dict[str, Any]:
    """What is known of the secret that travelled: an attempt that carried none takes none back."""
    return {} if token is None else {"token": token}


def _bounced(state: Projections, entry: Entry[Any], body: kinds.PageBounced, at_us: int) -> None:
    if not 0 < body.page <= state.pages or body.page in state.page:
        raise Corrupt(f"entry {entry.seq} says that page {body.page} came back, which was not sent")
    for number, row in state.escalation.items():
        if body.permanent and any(each.page == body.page for each in row.told):
            told(state, number, body.page, state="bounced")
            return


def _bundled(state: Projections, entry: Entry[Any], body: kinds.PageBundled, at_us: int) -> None:
    if body.into not in state.page:
        raise Corrupt(f"entry {entry.seq} bundles pages into {body.into}, which is not queued")
    for page in body.pages:
        if page not in state.page or page == body.into:
            raise Corrupt(f"entry {entry.seq} bundles page {page}, which is not queued")
        row = state.page[page]
        into = state.page[body.into]
        if not may_wait(row) or (row.person, row.channel) != (into.person, into.channel):
            raise Corrupt(f"entry {entry.seq} has page {page} told by another one, which waits for none")
        more = (row.incident or 0, row.why)
        state.change("page", body.into, bundled=(*into.bundled, more, *row.bundled))
        state.change("page", page, state="bundled", into=body.into)
        state.forget("page", page)
        if row.incident is not None and row.cycle:
            told(state, row.incident, page, state="bundled")


def may_wait(page: rows.Page) -> bool:
    """Whether a page may be told by another one's letter, if there is too much for a person at once."""
    return page.incident is not None and page.channel == EMAIL and page.about not in NEVER_HELD


def over(state: Projections, page: rows.Page) -> bool:
    """Whether nobody has to be told by a page of an escalation any more: another has it, or a later page asks the same
    person by the same way. The first page of an incident goes to its owner in any case, if that can be. So of a proof.
    """
    if page.about == proofs.PROOF:
        return proofs.over(state, page)
    if page.incident is None or not page.cycle or page.about not in ("", STEP):
        return False
    asked = state.escalation.get(page.incident)
    first = page.about == "" and page.channel == EMAIL
    if asked is None or asked.state != due.ASKING or asked.cycle != page.cycle:
        return page.permanent or not first  # somebody has it by now, or is asked anew
    place = (page.step, page.round)
    return any(
        (each.person, each.channel) == (page.person, page.channel) and (each.step, each.round) > place
        for each in asked.told
        if each.state in ("queued", "accepted")
    )


FOLDS: dict[type, Fold] = {
    kinds.PageQueued: _queued,
    kinds.PageQueued2: _queued,
    kinds.PageQueued3: _queued,
    kinds.PageQueued4: _queued,
    kinds.PageAttempted: _attempted,
    kinds.PageAttempted2: _attempted,
    kinds.PageBounced: _bounced,
    kinds.PageBundled: _bundled,
}
