"""What the host of an agent says that something is off with it: its word, recorded and answered as such."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from failwell.core import kinds
from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment

_SALT_BYTES = 16
MAX_WORDS = 20_000


class Notice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is off, under a name of the host's own; `words` may be personal and go to the blob.

    `actions`: decisions that it is about, where the host can say so.
    """

    notice: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}\Z")]
    severity: Literal["minor", "major", "critical"] = "minor"
    words: str | None = None
    actions: Annotated[tuple[int, ...], Meta(max_length=256)] = ()


def notice(host: str, agent: str, said: Notice) -> Job[int]:
    """The job that records it; answers its entry. Refused where the agent is none of the host's, or what it names is
    none of the agent's decisions.

    Attack: a host dates what it says back to somebody else's entry, and the case tells of another agent's deeds.
    """
    if said.words is not None and len(said.words) > MAX_WORDS:
        raise InputError(f"a text of {len(said.words)} characters; at most {MAX_WORDS} are kept")

    def job(turn: Turn) -> Plan[int]:
        full = _spoken_for(turn, host, agent)
        for action in said.actions:
            decided = turn.entry(action) if 0 <= action < turn.seq else None
            if decided is None or not isinstance(decided.body, kinds.Decision) or decided.agent != full:
                raise Refused(f"entry {action} is no decision about {agent}")
        salt = turn.entropy(_SALT_BYTES)
        words = None if said.words is None else commitment(salt, said.words.encode("utf-8", "replace"))
        body = kinds.Noticed(
            by=f"host:{host}", signal=said.notice, severity=said.severity, evidence="asserted", kind="real",
            first=min(said.actions, default=None), last=max(said.actions, default=None), aware=None,
            title=f"host {host} noticed {said.notice}", words=words,
        )  # fmt: skip
        secret = None if said.words is None else {"text": said.words, "salt": salt.hex()}
        cited = tuple(dict.fromkeys(said.actions))
        draft = Draft(body=body, actor=body.by, agent=full, refs=cited, secret=secret)
        return Plan((draft,), lambda entries: entries[0].seq)

    return job


def _spoken_for(turn: Turn, host: str, agent: str) -> str:
    """The full id of an agent that a host is enrolled for."""
    full = turn.state.agent_named(agent)
    if full is None:
        raise NotFound(f"no agent {agent} is registered here", hint="failwell agent list")
    row = turn.state.host.get(host)
    if row is None or full not in row.agents:
        raise Refused(f"host {host} does not speak for {full}", hint="failwell agent register --host NAME --agents A,B")
    return full
