"""What runs for a tool server: its own command, or where it is elsewhere our relay, which speaks to it from here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from failwell.node.surroundings import inherited

if TYPE_CHECKING:
    from failwell.node.broker import Held
    from failwell.node.reached import UpstreamSettings


def command_of(declared: UpstreamSettings) -> tuple[str, ...]:
    """The program, and what it is given."""
    if declared.url is None:
        return declared.command
    remote = ("--allow-remote",) if declared.allow_remote else ()
    vouched = () if declared.ca_file is None else ("--ca-file", declared.ca_file)
    headers = tuple(part for header in sorted(declared.secrets) for part in ("--header", header))
    return (sys.executable, "-I", "-m", "failwell.relay", declared.url, *remote, *vouched, *headers)


def environment_of(declared: UpstreamSettings, held: Held) -> dict[str, str]:
    """Its whole environment. What a server elsewhere is sent in a header the relay finds under the header's name."""
    return inherited({**held.surroundings, **declared.env, **held.secrets})
