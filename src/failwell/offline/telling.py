"""The result in words and as JSON: what verifies, step by step, what does not, and where this verifier's sight ends.

What stands in a record may be an attacker's words: nothing that is not printable reaches the terminal.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from failwell.core.errors import FailwellError
from failwell.offline import reading
from failwell.offline.checking import HASH_ONLY, Asked, Outcome
from failwell.verify import extract_report
from failwell.verify.finding import KEPT, UNSIGNED

SHOWN_FINDINGS: Final = 10
_WIDTH: Final = 100
_SAYS_AT: Final = 18


def shown(outcome: Outcome, asked: Asked) -> bool:
    """Whether everything holds, and the key that was given in order to see whose record this is vouches for it."""
    return outcome.ok and (asked.key is None or outcome.vouched)


def as_json(outcome: Outcome, asked: Asked, ed25519: str, key_from: str | None) -> str:
    """One object with the fields of `failwell ledger verify --json` and what is said here beyond them."""
    fields: dict[str, Any] = outcome.report.as_dict()
    fields["ok"] = shown(outcome, asked)
    return json.dumps(
        fields | {
            "mode": asked.mode, "ed25519": ed25519, "read_from": str(asked.given.path), "kind": asked.given.kind,
            "key_from": key_from, "attested": [asdict(step) for step in outcome.attested],
            "unknown_kinds": {f"{kind} {v}": count for (kind, v), count in sorted(outcome.unknown.items())},
            "elapsed_ms": round(outcome.elapsed_s * 1000), "cpu_ms": round(outcome.cpu_s * 1000),
        },
        indent=1,
    )  # fmt: skip


def failure(error: FailwellError) -> str:
    """A failure as every command of Failwell prints it."""
    return json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}})


def lines(outcome: Outcome, asked: Asked, ed25519: str, key_from: str | None) -> Iterator[str]:
    """The same for people."""
    report = outcome.report
    yield from map(_safe, _lead(outcome, asked, key_from))
    yield ""
    for found in report.findings[:SHOWN_FINDINGS]:
        yield _safe(f"  {found.message}")
    more = sum(report.counts.values()) - min(len(report.findings), SHOWN_FINDINGS)
    if more > 0:
        yield f"  and {more} more; all of them: --json"
    if report.findings:
        yield ""
    for step in (*report.checks, *outcome.attested):
        says = f"{step.says} ({step.detail})" if step.detail else step.says
        first, *rest = textwrap.wrap(_safe(says), _WIDTH - _SAYS_AT) or [""]
        yield f"{step.number:2d} {step.state:<13s}  {first}"
        yield from (" " * _SAYS_AT + each for each in rest)
    yield ""
    yield from map(_safe, _beneath(outcome, asked, ed25519, key_from))


def _lead(outcome: Outcome, asked: Asked, key_from: str | None) -> Iterator[str]:
    report, what = outcome.report, "EXTRACT" if asked.given.kind == reading.EXTRACT else "RECORD"
    many = _count(report.entries, "entry", "entries")
    if outcome.ok and asked.key is not None and not outcome.vouched:
        yield f"NOT SHOWN WHOSE {what} THIS IS: it agrees with itself ({many}), the key given does not vouch for it."
        yield "Ask its operator whether it was continued under a new name, and take its key from somebody you trust."
        return
    if not outcome.ok:
        yield from _failed(outcome, what)
        return
    if asked.given.kind == reading.EXTRACT:
        yield f"The extract verifies: {many} of {report.agent}, {_none(report)}."
        yield extract_report.reach(report)
    elif asked.key is None:
        yield f"The record agrees with itself: {many}. WITHOUT A KEY NOTHING SHOWS WHOSE RECORD IT IS."
    elif asked.mode == HASH_ONLY:
        yield f"The bytes are those that the log key signed: {many}. What they say was not looked at."
    else:
        yield f"The record verifies, as far as it can be verified alone: {many}, {_none(report)}."
    yield from (each.line() for each in report.breaks)
    yield from _limits(outcome, asked, key_from)


def _none(report: Any) -> str:
    return "none missing or changed of what it holds" if report.breaks else "none missing or changed"


def _failed(outcome: Outcome, what: str) -> Iterator[str]:
    report = outcome.report
    found = sum(report.counts.values()) + sum(step.state == "not proved" for step in outcome.attested)
    if found == report.counts.get(UNSIGNED, 0):
        yield f"THE {what} AND A CHECKPOINT THAT WAS GIVEN DO NOT BELONG TOGETHER; nothing else is wrong with it."
        yield "Either the checkpoint was changed on its way (get it anew, as it came), or it is of another record."
        return
    yield f"THE {what} DOES NOT VERIFY: {_count(found, 'finding', 'findings')}.{_where(report)}"
    yield "Keep what you were given as it is, and compare it with checkpoints that others keep."


def _limits(outcome: Outcome, asked: Asked, key_from: str | None) -> Iterator[str]:
    extract = asked.given.kind == reading.EXTRACT
    unsealed = getattr(outcome.report, "unsealed", 0)
    if unsealed:
        yield f"Not sealed yet, and so not vouched for: the last {_count(unsealed, 'entry', 'entries')}."
    kept = next(step for step in outcome.report.checks if step.number == (extract_report.KEPT if extract else KEPT))
    if not asked.kept:
        yield "Not shown: that it was not re-written whole. For that: --checkpoint FILE, one that another party kept."
    elif kept.state == "proved":
        yield f"It agrees with what another party kept: {_count(len(asked.kept), 'checkpoint', 'checkpoints')}."
    else:
        yield f"NOT HELD AGAINST WHAT ANOTHER PARTY KEPT: {kept.detail}."
    left = [str(step.number) for step in outcome.report.checks if step.state == "not checkable" and step is not kept]
    if left and asked.key is not None and asked.mode != HASH_ONLY:
        yield f"Not checked here: {'step' if len(left) == 1 else 'steps'} {', '.join(left)}; the reason stands there."
    if key_from is not None and key_from.startswith("beside"):
        yield "The key lay beside the record, so whoever kept it could choose it. Better: --key FILE, from elsewhere."


def _where(report: Any) -> str:
    first = report.findings[0] if report.findings else None
    if first is None or first.entry is None:
        return ""
    if first.exact:
        return f" First bad entry: {first.entry}."
    return f" The first bad entry lies between {first.first} and {first.last}."


def _beneath(outcome: Outcome, asked: Asked, ed25519: str, key_from: str | None) -> Iterator[str]:
    report, seconds = outcome.report, max(outcome.elapsed_s, 1e-6)
    mode = "" if asked.given.kind == reading.EXTRACT else f" Mode: {asked.mode}."
    yield f"{asked.given.kind}: {asked.given.path}.{mode}"
    yield f"Ed25519: {ed25519}. Key: {key_from or 'none'}."
    yield f"{_count(report.entries, 'entry', 'entries')} in {seconds:.2f} s, {report.entries / seconds:,.0f}/s."
    for (kind, v), count in sorted(outcome.unknown.items())[:SHOWN_FINDINGS]:
        yield (
            f"{_count(count, 'entry', 'entries')} of kind {kind} version {v}, which is not known to this verifier: "
            "bytes, place and hash were checked, the meaning was not."
        )
    grade = getattr(report, "grade", None)
    if grade is not None:
        yield from textwrap.wrap(grade.line(), _WIDTH)
    yield f"Log {report.origin or 'unknown'}, tree of {report.size}" + (f", root {report.root}" if report.root else "")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _safe(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
