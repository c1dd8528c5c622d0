"""What hosts said, held against which agents they were enrolled for when they said it."""

from __future__ import annotations

import re
from typing import Any

from failwell.core import kinds
from failwell.core.contract.rule_checks import NOTICE
from failwell.core.records import Entry
from failwell.core.state import State

_HOST = re.compile(r"host:(.+)")


class HostsWords:
    """Takes the entries in order, each before it is folded. What persons report is an order (`verify.cases`)."""

    code = "noticed.host"

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """What is wrong with an entry; None if nothing.

        Attack: a word against an agent is slipped in, which nobody said who may.
        """
        body = entry.body
        if not isinstance(body, kinds.Noticed) or body.by.startswith("person:"):
            return None
        host = _HOST.fullmatch(body.by)
        row = None if host is None else state.host.get(host[1])
        if entry.actor != body.by or row is None or entry.agent not in row.agents:
            return f"{body.by} is no host that speaks for {entry.agent}"
        if not NOTICE.fullmatch(body.signal) or (body.evidence, body.kind, body.aware) != ("asserted", "real", None):
            return "a host's word says more than a host can"
        cited = [ref.seq for ref in entry.refs]
        about = (min(cited, default=None), max(cited, default=None))
        return None if (body.first, body.last) == about else "it is about other entries than it cites"
