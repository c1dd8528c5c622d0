"""What tool servers were said to offer, and how they ended, held against whose session they were.

A session is one agent's, in one open run: an entry that gives a server's offer to anybody else, to one that is stopped,
or to a server that no settings name is a finding. What the definitions say lies in the blob and is not opened here.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from failwell.core import kinds
from failwell.core.records import Entry
from failwell.core.state import State

_SESSION: Final = re.compile(r"[0-9a-f]{32}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_STOPPED: Final = ("SUSPENDED", "RETIRED")
_ENDS: Final = ("completed", "failed", "blocked", "interrupted_confirmed", "interrupted_unconfirmed", "unknown")
_Whose = tuple[str | None, int | None]


class Served:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "upstream"

    def __init__(self) -> None:
        self._declared: dict[str, str] = {}
        #: By session: whose it is. Kept for as long as its run is open.
        self._sessions: dict[str, _Whose] = {}

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry; None if nothing."""
        match entry.body:
            case kinds.Config() as config:
                self._declared = _declared(config.text)
            case kinds.UpstreamListed() as listed:
                return self._whose(entry, listed.session) or self._listed(entry, listed, state)
            case kinds.UpstreamEnded() as ended:
                return self._whose(entry, ended.session) or _ended(ended)
        return None

    def _whose(self, entry: Entry[Any], session: str) -> str | None:
        if entry.actor != "node" or entry.agent is None or entry.run is None:
            return "a tool server is an agent's, in a run, and the node tells of it"
        if not _SESSION.fullmatch(session):
            return "the session's name is none"
        whose = self._sessions.setdefault(session, (entry.agent, entry.run))
        if whose != (entry.agent, entry.run):
            return f"the session is of run {whose[1]}: two runs share no tool server"
        return None

    def _listed(self, entry: Entry[Any], body: kinds.UpstreamListed, state: State) -> str | None:
        run, agent = state.run.get(entry.run or 0), state.agent.get(entry.agent or "")
        if run is None or agent is None or run.agent != entry.agent:
            return f"run {entry.run} is no open run of {entry.agent}"
        if agent.authority in _STOPPED:
            return f"{entry.agent} is {agent.authority.lower()}: it has no tool server"
        if self._declared.get(body.upstream) != body.kind:
            return f"the settings name no tool server {body.upstream} that is {body.kind}"
        if not _DIGEST.fullmatch(body.tools) or not 0 <= len(body.refused) + body.refused_more <= body.count:
            return "what it offers is counted wrongly"
        return None


def _ended(body: kinds.UpstreamEnded) -> str | None:
    if body.state not in _ENDS or body.processes < 0:
        return f"{body.state!r} is no end of a tool server"
    if body.state == "interrupted_confirmed" and body.proven_by in ("", "nothing", "bound reached"):
        return "its stop is called confirmed, and nothing shows it"
    return None


def _declared(text: str) -> dict[str, str]:
    """The servers that settings name, and which kind each is; none where they cannot be read."""
    try:
        given = dict(json.loads(text).get("upstreams") or ())
        return {name: "http" if fields.get("url") is not None else "stdio" for name, fields in given.items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}
