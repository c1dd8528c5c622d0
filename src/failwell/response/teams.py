"""Who is on call by a person's word, and that it is written down when somebody else comes on (R10).

A cover is signed by whoever covers, or by an operator; nobody else puts a person on call, or takes their turn.
"""

from __future__ import annotations

from failwell.core import kinds, rows
from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.escalation.calendars import declared_team, members, on_call
from failwell.core.hours import DAY_US
from failwell.core.instants import parse_at
from failwell.core.orders import SignedOrder, parse_order
from failwell.core.records import Draft
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.orders import VerifyOrder, admit
from failwell.response.case_orders import carried_out, need_person
from failwell.response.said import MakeJob

#: Longer is no cover but another rotation, which stands in the settings.
LONGEST_US = 92 * DAY_US


def cover(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A person is on call for a while, for another one or beside them. Answers its entry, by which it is ended."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        _need_team(turn, details.team)
        need_person(turn, details.person)
        since_us, until_us = max(parse_at(details.since), turn.now_us), parse_at(details.until)
        _need_time(since_us, until_us)
        if details.instead_of is not None and details.instead_of not in members(turn.state, details.team):
            raise InputError(
                f"{details.instead_of} is not in team {details.team}, so there is no turn to cover",
                hint=f"failwell team show {details.team}",
            )
        if details.instead_of == details.person:
            raise InputError(f"{details.person} cannot cover for themselves")
        order, draft = admit(turn, signed, verify, wanted="team.cover", source="node")
        _need_own(turn, order.person, (details.person,), f"putting {details.person} on call")
        if order.person == details.person and order.person not in members(turn.state, details.team):
            # Attack: whoever wants no page to arrive takes the night over, and answers none of them.
            _need_own(turn, order.person, (), f"covering for {details.team} from outside it")
        body = kinds.TeamCovered(
            team=details.team, person=details.person, instead_of=details.instead_of, since_us=since_us,
            until_us=until_us,
        )  # fmt: skip
        return carried_out(draft, Draft(body=body, actor=draft.actor, refs=(turn.seq,)))

    return job


def uncover(signed: SignedOrder, verify: VerifyOrder) -> Job[int]:
    """A cover ends, or does not begin: by whoever covers, whose turn it is, or an operator."""

    def job(turn: Turn) -> Plan[int]:
        details = parse_order(signed.order).details
        row = turn.state.cover.get(details.cover)
        if row is None:
            raise NotFound(f"entry {details.cover} is no cover", hint="failwell team list shows those there are.")
        if row.ended or row.until_us <= turn.now_us:
            raise Refused(f"cover {details.cover} is over", hint=f"failwell team show {row.team}")
        order, draft = admit(turn, signed, verify, wanted="team.uncover", source="node")
        whose = tuple(person for person in (row.person, row.instead_of) if person is not None)
        _need_own(turn, order.person, whose, f"ending a cover of {row.person}")
        body = kinds.TeamUncovered(cover=details.cover, person=order.person)
        return carried_out(draft, Draft(body=body, actor=draft.actor, refs=(turn.seq, details.cover)))

    return job


def note_turns(turn: Turn) -> Plan[int]:
    """Write down of each team who is on call now, where that changed. Answers how many teams' did."""
    state = turn.state
    escalating = state.workspace[1].escalation if state.workspace else None
    if state.mode != "live" or escalating is None:
        return Plan((), lambda entries: 0)
    drafts = []
    for team, _ in escalating.teams:
        now = tuple(person for person in on_call(state, team, turn.now_us) if state.enrolled(person))
        was = state.on_call.get(team, rows.OnCall(persons=(), entry=0)).persons
        if now != was:
            drafts.append(Draft(body=kinds.TeamTurned(team=team, was=was, now=now), actor="node"))
    return Plan(tuple(drafts), len)


def _need_team(turn: Turn, team: str) -> None:
    if declared_team(turn.state, team) is None:
        raise NotFound(f"there is no team {team}", hint="failwell team list; teams are declared in failwell.toml.")


def _need_time(since_us: int, until_us: int) -> None:
    if until_us <= since_us:
        raise InputError("the cover would be over before it begins", hint="--until is later than --from and than now.")
    if until_us - since_us > LONGEST_US:
        raise InputError(
            "a cover lasts at most 92 days", hint="For longer, change the turns in failwell.toml: failwell config apply"
        )


def _need_own(turn: Turn, person: str, whose: tuple[str, ...], what: str) -> None:
    if person not in whose and "operator" not in turn.state.person[person].roles:
        raise Refused(f"{what} is for {' or '.join((*whose, 'an operator'))}", hint="failwell person list shows roles.")


#: What carries out the orders of this module.
JOBS: dict[str, MakeJob] = {
    "team.cover": lambda signed, verify, said: cover(signed, verify),
    "team.uncover": lambda signed, verify, said: uncover(signed, verify),
}
