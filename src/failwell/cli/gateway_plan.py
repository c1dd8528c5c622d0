"""What an import would do, before anybody agreed to it: which servers with which tools, what is odd in them, what is
added to the settings, which contract is drafted. For it servers are started once (`gateway_asking`), and nothing is
written.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from failwell.cli.gateway_asking import Asked, ask_servers
from failwell.cli.gateway_taken import Taken
from failwell.core.errors import Refused

if TYPE_CHECKING:
    from failwell.core.contract.drafting import Draft, OfferedServer
    from failwell.mcp.definitions import Definition
    from failwell.mcp.review import Remark
    from failwell.node.reached import UpstreamSettings
    from failwell.node.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One server that answered: `accepted` are the definitions that get a pin, `there` what the settings have of it."""

    taken: Taken
    asked: Asked
    accepted: tuple[Definition, ...]
    there: UpstreamSettings | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """Tools whose pin, made earlier, is of another definition or that have none."""
        pins = {} if self.there is None else self.there.tools
        return tuple(
            each.name for each in self.accepted if self.there is not None and pins.get(each.name) != each.digest
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All of it. `left_out`: (server, tool, why) of tools that nobody is offered."""

    servers: tuple[Planned, ...]
    failed: tuple[tuple[str, str], ...]
    remarks: tuple[Remark, ...]
    left_out: tuple[tuple[str, str, str], ...]
    draft: Draft
    before: str
    settings: str

    @property
    def diff(self) -> list[str]:
        """What is added to failwell.toml."""
        lines = difflib.unified_diff(
            self.before.splitlines(), self.settings.splitlines(), "failwell.toml", "failwell.toml", lineterm="", n=1
        )
        return list(lines)

    @property
    def secrets(self) -> dict[str, str]:
        """Every secret that is moved, by its name in the settings."""
        return {name: value for each in self.servers for name, value in each.taken.secrets.items()}


def named_apart(taken: list[Taken], there: Mapping[str, UpstreamSettings]) -> list[Taken]:
    """The same under names that the settings do not have yet, unless it is the same server that has it."""
    found = []
    for each in taken:
        name, number = each.name, 1
        while each.declared is not None and name in there and not _same(there[name], each.declared):
            number += 1
            name = f"{each.name}-{number}"
        found.append(replace(each, name=name))
    return found


def _same(one: UpstreamSettings, other: UpstreamSettings) -> bool:
    """Whether both are one server: what an operator has set beside it may be another."""
    return (one.command, one.url, one.cwd, one.env, sorted(one.secrets)) == (
        other.command, other.url, other.cwd, other.env, sorted(other.secrets),
    )  # fmt: skip


def ask_and_plan(
    place: Workspace, taken: list[Taken], in_force: str, *, agent: str, short: str, owner: str, day: str, source: str
) -> Plan:  # fmt: skip
    """Start each server once and make the plan. `in_force` is the digest of the settings in force."""
    from failwell.core.contract.drafting import draft
    from failwell.core.unseen import visible
    from failwell.mcp.review import review
    from failwell.node import settings, watch

    before = (place.path / settings.FILE_NAME).read_text("utf-8")
    proposed = settings.parse_settings(before)
    if watch.digest(settings.settings_text(proposed)) != in_force:
        raise Refused(
            "failwell.toml has edits that are not in force, which an import would put in force with its own",
            hint="First: failwell config show; failwell config apply",
        )
    taken = named_apart(taken, proposed.upstreams)
    asked = _ask(place, taken)
    remarks = review({name: [each.value() for each in found.definitions] for name, found in asked.items()})
    servers, failed, left_out = [], [], []
    for each in taken:
        found = asked.get(each.name, Asked(why=each.why))
        if found.why is not None:
            failed.append((each.client, found.why))
            continue
        odd = misread(each.name, found, remarks)
        servers.append(Planned(
            taken=each, asked=found, accepted=tuple(one for one in found.definitions if one.name not in odd),
            there=proposed.upstreams.get(each.name),
        ))  # fmt: skip
        why = f"it misleads whoever reads it; once you have looked: failwell gateway pin {each.name} --accept"
        left_out += [(each.name, visible(name, 128), why) for name in sorted(odd)]
        left_out += [(each.name, visible(name, 128), reason) for name, reason in found.left_out]
    made = draft(contract=short, agent=agent, owner=owner, day=day, servers=map(_offered, servers))
    left_out += [(*each.tool.partition(".")[::2], each.why) for each in made.left_out]
    edited = _edited(before, servers, f"Imported from {visible(source, 100)} on {day} by `failwell gateway import`.")
    settings.parse_settings(edited)
    return Plan(
        servers=tuple(servers), failed=tuple(failed), remarks=remarks, left_out=tuple(left_out), draft=made,
        before=before, settings=edited,
    )  # fmt: skip


def _ask(place: Workspace, taken: list[Taken]) -> dict[str, Asked]:
    declared = {each.name: each.declared for each in taken if each.declared is not None}
    values = {
        each.name: {variable: each.secrets[name] for variable, name in each.declared.secrets.items()}
        for each in taken if each.declared is not None
    }  # fmt: skip
    return ask_servers(declared, values, place.path)


def misread(server: str, asked: Asked, remarks: tuple[Remark, ...]) -> set[str]:
    """Tools whose definitions nobody is to accept unread, and those that a server offers twice under one name."""
    from failwell.core.unseen import visible
    from failwell.mcp.review import MISLEADING

    misleading = {each.tool for each in remarks if each.server == server and each.what in MISLEADING}
    often = Counter(each.name for each in asked.definitions)
    return {name for name in often if often[name] > 1 or visible(name, 128) in misleading}


def _offered(planned: Planned) -> OfferedServer:
    from failwell.core.contract.drafting import OfferedServer

    declared = planned.taken.declared
    assert declared is not None
    return OfferedServer(
        planned.taken.name, planned.asked.says, tuple(one.value() for one in planned.accepted), planned.asked.methods,
        elsewhere=declared.url is not None, secrets=bool(planned.taken.secrets),
        deadline_us=declared.deadline_ms * 1000,
    )  # fmt: skip


def _edited(before: str, servers: list[Planned], remark: str) -> str:
    """The settings with the servers that they do not have yet."""
    import msgspec

    from failwell.node.settings_edit import with_upstreams

    upstreams, secrets = {}, {}
    for each in servers:
        if each.there is None and each.taken.declared is not None:
            pins = {one.name: one.digest for one in each.accepted}
            upstreams[each.taken.name] = msgspec.structs.replace(each.taken.declared, tools=pins)
            secrets.update(each.taken.kept)
    return with_upstreams(before, upstreams, secrets, remark)


def told(plan: Plan) -> dict[str, Any]:
    """A plan for programs."""
    return {
        "servers": [
            {
                "server": each.taken.name, "client_name": each.taken.client, "says": each.asked.says,
                "protocol": each.asked.protocol, "offered": len(each.asked.definitions), "pinned": len(each.accepted),
                "methods": list(each.asked.methods), "secrets": sorted(each.taken.secrets),
                "was_there": each.there is not None, "changed": list(each.changed), "notes": list(each.taken.notes),
            }
            for each in plan.servers
        ],
        "failed": [{"client_name": name, "why": why} for name, why in plan.failed],
        "remarks": [each._asdict() for each in plan.remarks],
        "left_out": [{"server": server, "tool": tool, "why": why} for server, tool, why in plan.left_out],
        "added": plan.diff, "drafted": list(plan.draft.tools), "claimed_to_read": list(plan.draft.claimed),
    }  # fmt: skip
