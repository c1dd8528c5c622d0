"""The story for people: what happens while it happens, then the account, at 80 columns and without colours.

Plain text only; names and figures come from the record, and what is not printable in them is left out.
"""

from __future__ import annotations

import textwrap
import time
from typing import Protocol, TextIO

from failwell.drills.demo import story
from failwell.drills.demo.outcome import Told

WIDTH = 80
PAUSE_S = 0.9


class Say(Protocol):
    """Where the story is told."""

    def line(self, text: str = "") -> None:
        """One paragraph, wrapped."""
        ...

    def step(self, what: str, text: str) -> None:
        """One thing that has just happened."""
        ...

    def row(self, time: str, after: str, entry: str, what: str) -> None:
        """One line of the timeline."""
        ...

    def pause(self) -> None:
        """Let the reader follow."""
        ...


class _Speaker:
    def __init__(self, out: TextIO, pause_s: float) -> None:
        self._out = out
        self._pause_s = pause_s
        self._began = time.monotonic()

    def line(self, text: str = "") -> None:
        indent = len(text) - len(text.lstrip(" "))
        self._write(text.lstrip(" "), " " * indent, " " * indent)

    def step(self, what: str, text: str) -> None:
        head = f"{time.monotonic() - self._began:5.1f} s  {what:<9} "
        self._write(text, head, " " * len(head))

    def row(self, time: str, after: str, entry: str, what: str) -> None:
        head = f"  {time:<12} {after:>11} {entry:>6}  "
        self._write(what, head, " " * len(head))

    def pause(self) -> None:
        time.sleep(self._pause_s)

    def _write(self, text: str, first: str, further: str) -> None:
        shown = "".join(letter if letter.isprintable() else "?" for letter in text)
        lines = textwrap.wrap(
            shown, WIDTH, initial_indent=first, subsequent_indent=further, break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        self._out.write("\n".join(lines) + "\n")
        self._out.flush()


def speaker(out: TextIO, pause_s: float) -> Say:
    """Tells to `out`, with a pause of `pause_s` seconds between the parts of the account."""
    return _Speaker(out, pause_s)


def tell(told: Told, failures: tuple[str, ...], say: Say) -> None:
    """The account of what happened."""
    for part in (_what_happened, _what_escaped, _tamper, _hindsight, _where):
        say.pause()
        say.line()
        part(told, say)
    say.line()
    if failures:
        say.line("NOT EVERYTHING HELD:")
        for each in failures:
            say.line(f"  - {each}")


def _what_happened(told: Told, say: Say) -> None:
    account, repeats = told.account, told.repeats
    say.line(
        f"{account.name} told {told.customers} customers once each, then began to repeat itself at entry"
        f" {account.onset[0]} (the first of {repeats} repeats that were allowed: recorded, nobody was asked)."
    )
    say.line()
    say.row("time", "after onset", "entry", "what")
    detected = account.times["detected"]
    what = {
        "onset": "first repeated notice: recorded",
        "detected": f"limit {story.RATE_LIMIT} reached: DENY",
        "ordered": "running send ordered to stop",
        "suspended": f"{account.name} suspended",
        "held": "record held",
        "stopped": f"send stopped, child too: {sum(stop.processes for stop in account.stops)} processes",
        "paged": f"mail to {account.owner} accepted",
    }
    seen = [(moment, name) for name in what if (moment := account.times[name]) is not None]
    for moment, name in sorted(seen, key=lambda each: (each[0].at, each[0].entry)):
        # One ledger time is one commit (D4): no crash lies between what is said in it.
        same = detected is not None and moment.at == detected.at and name != "detected"
        say.row(
            moment.at[11:23], f"{moment.after_onset_ms:.0f} ms", str(moment.entry),
            what[name] + (" (same commit)" if same else ""),
        )  # fmt: skip
    bound, refused = account.bound, told.refused
    say.line()
    say.line(
        f"From the order to the last process gone: {bound['measured_ms']} ms measured, {bound['stated_ms']} ms stated."
        f" Proven by: {bound['proven_by']}."
    )
    say.line(
        f"Refused since: {refused.same_run} times in the same run, {refused.later_runs} times from a fresh process;"
        f" allowed since: {refused.allowed}."
    )


def _what_escaped(told: Told, say: Say) -> None:
    effects = told.account.escaped_effects
    say.line(
        f"{effects.before_detection} notices escaped before the limit, {effects.while_stopping} while it was being"
        f" stopped, {effects.after_fence} after the fence. Counted from the shop's and the mail server's own logs"
        " (what the agent says is not counted)."
    )
    alone = sum(all(name in story.MAIL_LOGS for name in notice.seen_by) for notice in told.notices)
    if alone:
        say.line(
            f"{alone} of them only the mail server knows: the sender was killed before it could note that in the shop."
        )
    reached = ", ".join(f"{each.id} {each.effects}" for each in told.account.customers)
    say.line(f"{len(told.account.customers)} customers (and how often): {reached}.")


def _tamper(told: Told, say: Say) -> None:
    one, forgery = told.one_byte, told.forgery
    found = f"found, entry {one.named} named" if one.found else "NOT FOUND"
    say.line(f"Tamper check, on copies. One byte changed in entry {one.entry}: {found}.")
    alone = "found" if forgery.found_alone else "not detectable here, it verifies"
    kept = "DETECTED" if forgery.found_with_mail else "NOT DETECTED"
    say.line(
        f"The whole ledger re-written and re-signed with its guard's key, customer {forgery.customer} taken out of the"
        f" incident ({len(forgery.changed)} entries; it then tells of {forgery.customers_told} customers): {alone};"
        f" {kept} with the checkpoint in the owner's mail, which covers {forgery.checkpoint_size} entries."
        " (Here a mailbox on this machine: grade C; B once an outside party holds it.)"
    )


def _hindsight(told: Told, say: Say) -> None:
    seen = told.hindsight
    say.line(
        f"What would have stopped it: {seen.limit}: then: deny -> the first repeat, entry {seen.first_denied}."
        f" (All {seen.decisions} recorded actions judged again: as recorded under the contract as it was in"
        f" {seen.same_as_recorded}; with deny, {seen.repeats_denied} of {seen.repeats} repeats are denied.)"
    )


def _where(told: Told, say: Say) -> None:
    say.line("Look yourself:")
    say.line(f"  failwell incident show {told.account.incident} --workspace {told.workspace}")
    say.line(f"  failwell ledger verify --workspace {told.workspace}")
    if told.mail is not None:
        say.line(f"  the owner's mail: {told.mail}")
