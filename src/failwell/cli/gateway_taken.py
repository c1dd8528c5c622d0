"""A tool server as its client had it -> as the settings declare it, with whatever looks like a secret taken out of it.

What looks like one is kept in a file of its own (0600) and only named in the settings, which stand in the record for
good. Better one too many: a value that is none works as well from there. One that stands where it cannot be taken out
(in a command's arguments, in an address) keeps the whole server out. No value is ever part of a message.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from failwell.core.errors import InputError

if TYPE_CHECKING:
    from failwell.inventory.client_configuration import ClientServer
    from failwell.node.kept import SecretSettings
    from failwell.node.reached import UpstreamSettings

#: Words, in the name of a variable, flag or header, of what is a secret; a name may end in one of the long ones too.
_NAMED_SO = frozenset(
    {"key", "keys", "token", "tokens", "secret", "secrets", "password", "passwd", "passphrase", "pass", "pwd",
     "credential", "credentials", "auth", "authorization", "cookie", "dsn", "bearer", "pat", "pin", "jwt"}
)  # fmt: skip
_ENDS_SO = ("token", "secret", "password", "passwd", "apikey", "accesskey", "secretkey")
#: What is set where a secret could be, and is none.
_PLAIN = frozenset(
    {"true", "false", "yes", "no", "on", "off", "none", "null", "auto", "basic", "bearer", "oauth", "oauth2", "enabled",
     "disabled"}
)  # fmt: skip
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
#: What well-known services begin their secrets with; and tokens that say themselves what they are.
_LOOKS_SO = re.compile(
    r"(?:sk|pk|rk|ghp|gho|ghs|ghu|glpat|xox[abeprs]|npm|pypi|hf|lin|ntn|secret|key|sq0|shpat|dop)[-_][A-Za-z0-9_-]{8,}"
    r"|github_pat_\w{8,}|A[KS]IA[A-Z0-9]{12,}|AIza[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]+\.|-----BEGIN|Bearer\s+\S{8,}",
)
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
_RANDOM = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+_=-]{24,}")
_FLAG = re.compile(r"--?[\w-]+")
#: Programs that fetch what they run from a registry: what it is, is not known until it runs.
_FETCHES = frozenset({"npx", "uvx", "bunx", "pnpx", "pipx", "docker", "podman", "deno"})
_NO_NAME = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One server. `declared` None: it is not taken over, and `why` says the reason. `secrets`: name -> value."""

    client: str
    name: str
    declared: UpstreamSettings | None = None
    why: str | None = None
    kept: dict[str, SecretSettings] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()


def take(servers: Iterable[ClientServer], path: str | None) -> list[Taken]:
    """Every server of a client. `path` is where programs are looked for (PATH)."""
    found, names = [], Counter[str]()
    for server in servers:
        name = _NO_NAME.sub("-", server.name.lower()).strip("-_")[:28] or "server"
        names[name] += 1
        name = name if names[name] == 1 else f"{name}-{names[name]}"
        try:
            if server.why is not None:
                raise InputError(server.why)
            taken = _elsewhere(server, name) if server.url is not None else _process(server, name, path)
            assert taken.declared is not None
            taken.declared.check(name)
            found.append(taken)
        except InputError as error:
            found.append(Taken(client=server.name, name=name, why=error.message))
    return found


def _process(server: ClientServer, name: str, path: str | None) -> Taken:
    from failwell.node.reached import UpstreamSettings

    program, *arguments = server.command
    _check_plain(server.command)
    at = shutil.which(program, path=path) if "/" not in program else os.path.join(server.cwd or os.getcwd(), program)
    if at is None or not os.access(at, os.X_OK):
        raise InputError(f"there is no program {program[:80]}")
    plain = {key: value for key, value in server.env.items() if not looks_secret(key, value)}
    hidden = {key: value for key, value in server.env.items() if key not in plain}
    if strange := next((key for key in server.env if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", key)), None):
        raise InputError(f"its environment has a variable named {strange[:40]!r}")
    kept, values, named = _kept(name, hidden)
    notes = []
    if os.path.basename(program) in _FETCHES:
        # A pin is of a definition, and says nothing of the program behind it.
        notes.append(f"{os.path.basename(program)} fetches what it runs: name an exact version")
    declared = UpstreamSettings(
        command=(os.path.abspath(at), *arguments), cwd=server.cwd, env=plain, secrets=named
    )  # fmt: skip
    return Taken(client=server.name, name=name, declared=declared, kept=kept, secrets=values, notes=tuple(notes))


def _elsewhere(server: ClientServer, name: str) -> Taken:
    from failwell.node.reached import UpstreamSettings

    url = server.url or ""
    _check_plain([url])
    parts = urlsplit(url)
    if parts.query and any(looks_secret(*each.partition("=")[::2]) for each in parts.query.split("&")):
        raise InputError("its address looks as if it held a secret: give it in a header")
    remote = parts.hostname not in ("localhost", "127.0.0.1", "::1")
    kept, values, named = _kept(name, server.headers)
    return Taken(
        client=server.name, name=name, kept=kept, secrets=values,
        declared=UpstreamSettings(url=url, allow_remote=remote, secrets=named),
    )  # fmt: skip


def _check_plain(parts: Iterable[str]) -> None:
    """InputError where a part looks like a secret: what is in the settings is on record, readable and for good."""
    before = ""
    for part in parts:
        flag, _, value = part.partition("=") if part.startswith("-") else ("", "", part)
        named = flag or (before if _FLAG.fullmatch(before) else "")
        if value and looks_secret(named, value) and not os.path.exists(value):
            said = f" after {named[:40]}" if named else ""
            raise InputError(f"its command or address looks as if it held a secret{said}: give it by a variable")
        before = part


def looks_secret(name: str, value: str) -> bool:
    """Whether what a variable, flag or header holds may be a secret, by its name or by itself."""
    if not value or value.lower() in _PLAIN:
        return False
    words = [word.lower() for word in _WORDS.findall(name)]
    named = any(word in _NAMED_SO or word.endswith(_ENDS_SO) for word in words)
    if named and not value.isdigit() and not os.path.isabs(value):
        return True
    return bool(_LOOKS_SO.match(value) or _WITH_PASSWORD.search(value) or _RANDOM.fullmatch(value))


def _kept(
    server: str, hidden: Mapping[str, str]
) -> tuple[dict[str, SecretSettings], dict[str, str], dict[str, str]]:  # fmt: skip
    """Secrets as settings and by value, and which variable or header holds which."""
    from failwell.node.kept import SecretSettings

    kept: dict[str, SecretSettings] = {}
    values: dict[str, str] = {}
    named: dict[str, str] = {}
    for variable, value in hidden.items():
        if len(value.encode()) < 8 or len(set(value)) < 4:
            raise InputError(f"what {variable[:40]} holds is too short to be kept as a secret: have a longer one made")
        secret = f"{server}.{_NO_NAME.sub('-', variable.lower())}"[:64]
        kept[secret] = SecretSettings(file=f"secrets/{secret}")
        values[secret], named[variable] = value, secret
    return kept, values, named
