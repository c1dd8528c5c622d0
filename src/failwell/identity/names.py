"""Names of agents, hosts and persons, and where their keys lie in a person's configuration directory.

An agent is named by a short name (`refund-bot`) or by a SPIFFE ID
(`spiffe://shop.example/agent/refund-bot`, SPIFFE-ID section 2), whose last path segment is its short name.
Stricter than SPIFFE: lower-case ASCII only, so that a name which looks like another one is another spelling
only in the ways that `check_distinct` refuses. Standard library only. It does not know which names are
taken; the ledger's projections do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from failwell.core.errors import InputError, Refused

MAX_SHORT: Final = 63
MAX_AGENT_ID: Final = 255

_SHORT: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_SEGMENT: Final = re.compile(r"[a-z0-9._-]+")
_SCHEME: Final = "spiffe://"
# What one glance takes for another within lower-case ASCII. Separators count as one, runs of them too.
_LOOKS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_FOLD: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "_": "-", ".": "-"})


@dataclass(frozen=True, slots=True)
class AgentName:
    """An agent's full name as registered, and the short name that people and files use."""

    full: str
    short: str


def check_name(name: str, what: str = "name") -> str:
    """The same name, if it is 1 to 63 of a-z 0-9 . _ - and begins and ends with a letter or digit.

    Raises InputError that names the first character which is not allowed; letters of other scripts are
    shown by their code point, since on the screen they may look right.
    """
    for place, letter in enumerate(name, 1):
        if not re.fullmatch(r"[a-z0-9._-]", letter):
            raise InputError(f"{what}: character {place} is {_shown(letter)}", hint=_hint(what))
    if len(name) > MAX_SHORT or not _SHORT.fullmatch(name) or ".." in name:
        raise InputError(f"{what}: {name[:80]!r} is not a name", hint=_hint(what))
    return name


def parse_agent(name: str) -> AgentName:
    """The full and the short name of an agent, from a short name or a SPIFFE ID.

    Raises InputError for anything else: upper case, other scripts, ports, queries, empty or dotted path
    segments. Source: SPIFFE-ID sections 2.1 and 2.2.
    """
    if not name.startswith(_SCHEME):
        return AgentName(name, check_name(name, "agent"))
    if len(name) > MAX_AGENT_ID:
        raise InputError(f"agent: a SPIFFE ID of {len(name)} characters, at most {MAX_AGENT_ID} are allowed")
    domain, *path = name.removeprefix(_SCHEME).split("/")
    check_name(domain, "agent, trust domain")
    if not path:
        raise InputError("agent: a SPIFFE ID without a path names a trust domain, not an agent")
    for segment in path:
        if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
            raise InputError(f"agent: path segment {segment[:80]!r} is not allowed", hint=_hint("segment"))
    return AgentName(name, check_name(path[-1], "agent, last path segment"))


def check_distinct(name: str, taken: Iterable[str]) -> None:
    """Raises Refused when a short name equals one of `taken`, or could be taken for it at a glance.

    Attack: a second agent `refund-b0t` or `refund_bot` beside `refund-bot`, so that a person suspends or
    releases the wrong one.
    """
    looks = _looks(name)
    for other in taken:
        if name == other:
            raise Refused(f"the name {name} is taken")
        if looks == _looks(other):
            raise Refused(f"the name {name} looks like {other}, which is taken", hint="Choose another name.")


def config_directory(environ: Mapping[str, str], home: Path) -> Path:
    """A person's own configuration directory: $FAILWELL_CONFIG, else $XDG_CONFIG_HOME/failwell, else
    ~/.config/failwell.

    Source: XDG Base Directory Specification (a relative XDG_CONFIG_HOME is to be ignored).
    """
    own = environ.get("FAILWELL_CONFIG")
    if own:
        return Path(own)
    base = environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else home / ".config") / "failwell"


def origin_short(origin: str) -> str:
    """First 16 hex digits of SHA-256 over a ledger's origin: names its folder, whatever its letters."""
    return hashlib.sha256(origin.encode()).hexdigest()[:16]


def person_key_path(config: Path, person: str) -> Path:
    """`persons/NAME.pem` in the configuration directory; raises InputError for what is no name."""
    return config / "persons" / f"{check_name(person, 'person')}.pem"


def agent_key_path(config: Path, origin: str, agent: str) -> Path:
    """`agents/ORIGIN/NAME.key` in the configuration directory; raises InputError for no agent's name."""
    return config / "agents" / origin_short(origin) / f"{parse_agent(agent).short}.key"


def agent_credential_path(config: Path, origin: str, agent: str) -> Path:
    """`agents/ORIGIN/NAME.svid.pem`: an agent's certificate with its key; raises InputError for no agent's name."""
    return config / "agents" / origin_short(origin) / f"{parse_agent(agent).short}.svid.pem"


def host_key_path(config: Path, origin: str, host: str) -> Path:
    """`hosts/ORIGIN/NAME.key` in the configuration directory; raises InputError for what is no name."""
    return config / "hosts" / origin_short(origin) / f"{check_name(host, 'host')}.key"


def _looks(name: str) -> str:
    folded = name.translate(_FOLD)
    for pair, single in _LOOKS:
        folded = folded.replace(pair, single)
    return re.sub(r"-+", "-", folded)


def _shown(letter: str) -> str:
    return repr(letter) if letter.isascii() else f"U+{ord(letter):04X}, not ASCII"


def _hint(what: str) -> str:
    return f"Use a-z, digits, '.', '_' and '-'; the {what} begins and ends with a letter or digit."
