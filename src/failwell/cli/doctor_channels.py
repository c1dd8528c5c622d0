"""What `doctor` says of the ways to people: by which a page was taken over lately, which fail, which nobody used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from failwell.cli.screen import plural, span

if TYPE_CHECKING:
    from failwell.cli.doctor import Seen
    from failwell.node.mail_settings import InboxSettings

Line = tuple[str, str, str, str | None]
PART = "channels"
EMAIL = "email"
APPLY = "then failwell config apply; pages are tried again"


def lines(seen: Seen) -> Iterator[Line]:
    """(part, state, found, what to do) of mail and of each channel that the settings in force declare."""
    from failwell.node.settings import settings_from_text

    force = settings_from_text(seen.force["text"])
    declared = force.channels
    by_channel: dict[str, list[dict[str, Any]]] = {}
    for page in seen.pages.values():
        by_channel.setdefault(page["channel"], []).append(page)
    ways = seen.status["ways"]
    yield _mail(seen, by_channel.get(EMAIL, []), ways.get(EMAIL))
    if force.mail is not None and seen.status["mail"]:
        yield _inbox(force.mail.inbox, seen.status["inbox"])
    for name, said in sorted(declared.items()):
        yield _one(f"{name} ({said.kind})", f"[channels.{name}]", by_channel.get(name, []), ways.get(name))
    for name in sorted(set(by_channel) - set(declared) - {EMAIL}):
        waiting = _queued(by_channel[name])
        if waiting:
            found = f"{plural(len(waiting), 'page waits', 'pages wait')} for {name}, which no setting declares any more"
            yield PART, "todo", found, f"declare [channels.{name}] again, {APPLY}"


def _mail(seen: Seen, pages: list[dict[str, Any]], way: dict[str, Any] | None) -> Line:
    from failwell.core.instants import parse_at

    if not seen.status["mail"]:
        return (
            PART, "todo", f"no mail is set up: nobody can be written to{_waiting(pages)}",
            "set [mail] in failwell.toml, then failwell config apply",
        )  # fmt: skip
    way = way or {"failed": 0, "accepted_us": 0, "detail": seen.failed_page}  # of before this node started
    if seen.accepted_at is not None:
        way = {**way, "accepted_us": max(way["accepted_us"], parse_at(seen.accepted_at))}
    return _one("mail", "[mail]", pages, way)


def _inbox(inbox: InboxSettings | None, failed: str | None) -> Line:
    if inbox is None:
        found = "no inbox: a mail that comes back is not noticed, and none can be answered by mail"
        return PART, "known", found, f"set [mail.inbox] in failwell.toml, {APPLY}"
    if failed is not None:
        return PART, "todo", f"inbox: {failed}", f"mend it, or [mail.inbox] in failwell.toml, {APPLY}"
    read = f"read from {inbox.path}" if inbox.path is not None else "handed over by failwell escalation receive"
    return PART, "ok", f"inbox: answers, and mails that come back, are {read}", None


def _one(name: str, section: str, pages: list[dict[str, Any]], way: dict[str, Any] | None) -> Line:
    failing = [page for page in _queued(pages) if page["attempts"]]
    if (way is not None and way["failed"]) or failing:
        why = "" if way is None or not way["detail"] else f": {way['detail']}"
        for_good = "" if not any(page["permanent"] for page in failing) else " for good"
        found = f"{name}: the newest page failed{for_good}{why}{_waiting(pages)}"
        return PART, "todo", found, f"mend {section} in failwell.toml, {APPLY}"
    accepted_us = max((page["due_us"] for page in pages if page["state"] == "accepted"), default=0)
    accepted_us = max(accepted_us, 0 if way is None else way["accepted_us"])
    if not accepted_us:
        return (
            PART, "unknown", f"{name}: set up, and no page was ever taken over by it{_waiting(pages)}",
            "failwell escalation prove shows whether it reaches people",
        )  # fmt: skip
    ago_us = max(0, time.time_ns() // 1000 - accepted_us)
    return PART, "ok", f"{name}: a page was accepted {span(ago_us)} ago{_waiting(pages)}", None


def _queued(pages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [page for page in pages if page["state"] == "queued"]


def _waiting(pages: list[dict[str, Any]]) -> str:
    queued = _queued(pages)
    return f"; {plural(len(queued), 'page waits', 'pages wait')}" if queued else ""
