"""A letter to one customer of an incident, as a draft: plain words, only what the record holds, no name of ours (R11).

A person reads it, changes it and sends it; nothing here sends anything. What nobody can say stands in it as such. It
promises nothing and blames nobody: that is for whoever signs it.
"""

from __future__ import annotations

from collections.abc import Iterable

from failwell.core import undoing
from failwell.core.errors import NotFound
from failwell.response.impact import Customer, Impact, Touched

#: Acts that a draft names one by one; of more it says how many.
NAMED = 12
#: Characters of an order's number or the like that are repeated in a letter.
LONGEST = 80
_WHY = {
    "no-verdict": "It was done without the check that comes before it.",
    "customer": "It reached somebody else than it was meant for.",
    "ensure": "Afterwards it was not as it should have been.",
    "outcome": "It did not end as it should have.",
}


def find_customer(impact: Impact, named: str) -> Customer:
    """The customer of an incident by name or token; NotFound says which there are."""
    for one in impact.customers:
        if named in (one.name, one.customer):
            return one
    raise NotFound(
        f"incident {impact.incident} reached no customer {named}, as far as the record shows",
        hint=f"failwell incident customers {impact.incident}",
    )


def draft(impact: Impact, customer: Customer, *, stopped: bool) -> str:
    """The letter, from an impact that tells all acts. `stopped`: whether what did it can do nothing more now."""
    acts = [act for act in impact.acts if customer.name in act.customers]
    wrong = [act for act in acts if act.wrong]
    return "\n\n".join(_paragraphs(customer, wrong or acts, known=bool(wrong), stopped=stopped)) + "\n"


def _paragraphs(customer: Customer, acts: list[Touched], *, known: bool, stopped: bool) -> Iterable[str]:
    yield "Dear customer,"
    count = customer.wrong if known else customer.touched
    times = "once" if count == 1 else f"{count} times"
    what = (
        "did something that concerns you and should not have happened" if known else "did something that concerns you"
    )
    yield f"an automated system of ours {what}, {times}, {_when(acts)}."
    lines = [_line(act) for act in acts[:NAMED]]
    more = len(acts) - len(lines)
    yield "\n".join(["What happened:", *lines, *([f"- and {more} more of the same kind"] if more else [])])
    if not known:
        yield "We are still finding out whether any of it was wrong, and will write to you again."
    elif customer.perhaps:
        yield (
            f"Of {customer.perhaps} of {count} we cannot say yet whether it took place: it was stopped on the way, or "
            "we do not know how it ended."
        )
    reasons = {each.what for act in acts for each in act.wrong}
    why = [said for what, said in _WHY.items() if what in reasons]
    if why:
        yield " ".join(why)
    yield " ".join(_since(customer, count, stopped=stopped))
    yield "You do not have to do anything. If something looks wrong to you, please answer this message."


def _when(acts: Iterable[Touched]) -> str:
    times = sorted(act.at for act in acts)
    first, last = times[0], times[-1]
    if first[:16] == last[:16]:
        return f"on {first[:10]} at {first[11:16]} (UTC)"
    if first[:10] == last[:10]:
        return f"on {first[:10]} between {first[11:16]} and {last[11:16]} (UTC)"
    return f"between {first[:10]} {first[11:16]} and {last[:10]} {last[11:16]} (UTC)"


def _line(act: Touched) -> str:
    """One act: what, when, about what, how much, and how it stands."""
    parts = [f"- {act.at[:10]} {act.at[11:19]}: {act.tool.replace('.', ' ').replace('_', ' ')}"]
    if act.resource is not None:
        parts.append(f"for {_plain(act.resource)}")
    if act.amount is not None:
        parts.append(f"amount {act.amount}")
    if act.effects > 1 and len(act.customers) == 1:
        parts.append(f"{act.effects} times")
    if act.undone == undoing.REVERSED:
        parts.append("undone since")
    elif act.happened == "perhaps":
        parts.append("we cannot say yet whether it took place")
    return ", ".join(parts)


def _plain(text: str) -> str:
    """A value that an agent chose, on one line and with nothing in it that a reader's program would obey."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST])
    return shown + ("..." if len(text) > LONGEST else "")


def _since(customer: Customer, count: int, *, stopped: bool) -> Iterable[str]:
    yield "What did it has been stopped." if stopped else "We are looking into it."
    if customer.undone:
        yield f"{customer.undone} of {count} has been undone." if count > 1 else "It has been undone."
    elif customer.amounts:
        yield "It has not been undone yet."
