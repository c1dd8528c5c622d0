"""What the verification of an extract shows: its numbered steps, and its result. Values only: nothing here verifies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from failwell.verify.finding import Break, Finding, Step

SCHEMA: Final = "failwell/extract-verify/1"

FORM, BYTES, HEAD, INCLUDED, LOG, CHAIN, COMPLETE, CITED, KEPT = range(1, 10)

STEPS: Final[dict[int, str]] = {
    FORM: "the extract has the one spelling it can have (RFC 8785), and holds nothing that belongs to no proof",
    BYTES: "every entry is read from the one spelling it can have (RFC 8785)",
    HEAD: "the tree head is signed by the log key given, or by one that it vouches for (C2SP tlog-checkpoint)",
    INCLUDED: "every entry stands at its number in the tree of that head (RFC 9162 2.1.3)",
    LOG: "every entry bears the name that this log had",
    CHAIN: "the agent's entries count up without a gap, each names the one before",
    COMPLETE: "no more entries of the agent: the heads entry counts as many, with the same last one (RFC 9162 2.1.3)",
    CITED: "what the agent's entries cite, as far as it is here, has the cited leaf",
    KEPT: "the tree of every checkpoint kept elsewhere is the beginning of this one (RFC 9162 2.1.4)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractReport:
    """The result. `size` and `root` (hex) are the head's, `newest_at` the time of the newest entry that is here.

    `entries` of the agent are here, the first and last of them at these numbers; `missing` are ranges of the agent's
    own count. If `ok`, nothing of the agent before entry `complete_to` is left out; `since` of its entries stand from
    there on, where one left out at the end would not show. `breaks`: where sealed entries of the log, which may have
    been this agent's, were given up.
    """

    findings: tuple[Finding, ...]
    checks: tuple[Step, ...]
    counts: dict[str, int]
    agent: str | None
    origin: str | None
    mode: str | None
    size: int
    root: str | None
    newest_at: str | None
    entries: int
    first: int | None
    last: int | None
    missing: tuple[tuple[int, int], ...]
    complete_to: int | None
    since: int
    cited_elsewhere: int
    breaks: tuple[Break, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.counts

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values, for `--json`."""
        return {"schema": SCHEMA, "ok": self.ok, **asdict(self)}


def reach(report: ExtractReport) -> str:
    """How far it is complete, and as of when, in words."""
    if report.complete_to is None:
        return "Not shown: that none was left out at the end. A node says so when it stops."
    newest = "" if report.newest_at is None else f" The newest entry in it is of {report.newest_at[:19]}Z."
    last, after = report.complete_to - 1, report.size - report.complete_to
    if not after:
        return f"Complete up to the last sealed entry, {last}.{newest}"
    since = f", {report.since:,} of them the agent's" if report.since else ""
    more = f"{after:,} more {'is' if after == 1 else 'are'}"
    return f"Complete up to entry {last}; after it {more} sealed{since}.{newest}"
