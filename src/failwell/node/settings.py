"""`failwell.toml`: the settings of a workspace, strictly read (D9).

Unknown fields are errors. The canonical text of what was read is in the ledger (`config` entry): an edit of the file
takes effect only by `config.apply`, a signed order; until then the settings in the ledger stay in force.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from failwell.core import canonical
from failwell.core.errors import InputError
from failwell.effects.settings import Settings as Log
from failwell.effects.settings import parse_settings as parse_log
from failwell.node.agreed_settings import ObjectiveSettings, PreserveSettings
from failwell.node.escalation_settings import ChannelSettings, EscalationSettings, TeamSettings, check_telling
from failwell.node.feed_settings import FeedSettings
from failwell.node.kept import SecretSettings, check_forwarded, check_headers, check_held
from failwell.node.mail_settings import MailSettings
from failwell.node.reached import HttpSettings, ToolLimits, UpstreamSettings
from failwell.node.trust import Trust
from failwell.ports.addresses import parse_address

FILE_NAME = "failwell.toml"

#: As contracts spell what they look up.
_SOURCE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
#: The longest that one question may take: an action waits for it.
MAX_SOURCE_MS = 30_000


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of all sections."""


class NodeSettings(Section, frozen=True, kw_only=True):
    """`idle_s`: a node started on demand ends after this long without callers, tools or due pages (0 = never).

    `warm_supervisors`: how many stand by, so that a tool starts at once (0: each is started when it is needed).
    `self_test_minutes`: how often it is shown anew that tools can be stopped here.
    """

    idle_s: int = 900
    interrupt_bound_ms: int = 50
    output_cap_bytes: int = 1_048_576
    warm_supervisors: Annotated[int, msgspec.Meta(ge=0, le=64)] = 2
    self_test_minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 60


class WitnessSettings(Section, frozen=True, kw_only=True):
    """One log of the tool side. `at`, `ref`, `customer`, `action` name its fields; a relative path starts here."""

    kind: Literal["jsonl", "sqlite"]
    path: str
    agent: str
    tool: str
    at: str
    at_unit: Literal["rfc3339", "s", "ms", "us"] = "rfc3339"
    ref: str | None = None
    customer: str | None = None
    action: str | None = None
    table: str | None = None

    def log(self, name: str) -> Log:
        """The same as the reader of effects takes it; InputError names the field that is wrong."""
        fields = {
            key: value for key, value in msgspec.to_builtins(self).items() if value is not None and key != "agent"
        }
        return parse_log({**fields, "witness": name})


_Command = Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]


class ToolSettings(Section, frozen=True, kw_only=True):
    """What runs for a tool. Declared here it is the operator's word, not the agent's. A tool without a command is one
    that agents ask a server for by themselves, with a permit, or with a `transaction` a function that they registered.

    `secrets`: environment variable -> name in [secrets], which only this tool's processes get to see.
    `fence`: told at a stop which epoch is void (`fenced`); it ends with 0 once the resource refuses what is older.
    `confirm`: asked after a stop of what runs elsewhere (`unstoppable`); it ends with 0 once nothing of it goes on.
    `transaction`: the SQLite database whose transaction the tool's work is (`transactional`).
    `permit`: the tool server that the tool speaks to, as it calls itself: for it is the permit that the tool finds in
    FAILWELL_PERMIT, or that an agent asks for.
    `probe`: tried by `doctor --as-agent`; it ends with 0 where the tool could be used round the gate.
    """

    command: tuple[str, ...] = ()
    cwd: str | None = None
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    limits: ToolLimits | None = None
    output_cap_bytes: Annotated[int, msgspec.Meta(ge=0, le=67_108_864)] | None = None
    fence: _Command | None = None
    confirm: _Command | None = None
    stop_deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=600_000)] = 10_000
    transaction: str | None = None
    permit: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,200}\Z")] | None = None
    probe: _Command | None = None

    @property
    def runs_function(self) -> bool:
        """Whether what an agent's program registered runs: its work is held by the transaction, it gets no secret."""
        return self.transaction is not None and not (self.command or self.secrets or self.permit)


class PermitSettings(Section, frozen=True, kw_only=True):
    """`lifetime_s`: how long a permit is good that leaves the node; so long may what it permits start after a stop."""

    lifetime_s: Annotated[int, msgspec.Meta(ge=2, le=300)] = 30


class SourceSettings(Section, frozen=True, kw_only=True):
    """A trusted source of facts: a command, or an address that is posted to. Never registered by an agent (D23).

    `deadline_ms` is its time for one question. `env` is all that a command finds in its environment besides PATH and
    the like. `allow_remote`: another machine may be asked, by https; `ca_file` says who may vouch for it.
    """

    command: tuple[str, ...] | None = None
    url: str | None = None
    deadline_ms: int = 1000
    env: dict[str, str] = {}
    cwd: str | None = None
    allow_remote: bool = False
    ca_file: str | None = None

    def check(self, name: str) -> None:
        """InputError names what is wrong."""
        place = f'[sources."{name}"]'
        if not _SOURCE_NAME.fullmatch(name):
            raise InputError(f"{place}: {name!r} is not a source's name", hint="Name it like orders.paid_amount.")
        if (self.command is None) == (self.url is None):
            raise InputError(f"{place}: one of command and url, and not both")
        if not 1 <= self.deadline_ms <= MAX_SOURCE_MS:
            raise InputError(f"{place}: deadline_ms is from 1 to {MAX_SOURCE_MS}")
        if self.command is not None:
            if not self.command or not all(self.command) or any("\0" in part for part in self.command):
                raise InputError(f"{place}: command is a list of texts: the program, and what it is given")
            if self.allow_remote or self.ca_file:
                raise InputError(f"{place}: allow_remote and ca_file are said of a url")
        elif self.env or self.cwd:
            raise InputError(f"{place}: env and cwd are said of a command")
        else:
            parse_address(self.url or "", allow_remote=self.allow_remote)


class RevocationSettings(Section, frozen=True, kw_only=True):
    """How the access of a detect-only agent is taken away when it is suspended, and how its vendor confirms that.

    `command` takes it away. `confirm` asks afterwards: it ends with 0 only where access is gone. `answer` is the line
    that says so, in the output of `confirm` or, without one, of `command`. With neither nothing is ever confirmed.
    """

    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    confirm: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    answer: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=600_000)] = 10_000
    env: dict[str, str] = {}


class IdentitySettings(Section, frozen=True, kw_only=True):
    """`certificate_minutes`: how long a certificate is good that the workspace makes out to an agent."""

    certificate_minutes: Annotated[int, msgspec.Meta(ge=5, le=1440)] = 60


class Settings(Section, frozen=True, kw_only=True):
    """Everything an operator may set; each section may be left out."""

    node: NodeSettings = NodeSettings()
    mail: MailSettings | None = None
    witness: dict[str, WitnessSettings] = {}
    tools: dict[str, ToolSettings] = {}
    sources: dict[str, SourceSettings] = {}
    revocation: dict[str, RevocationSettings] = {}
    identity: IdentitySettings = IdentitySettings()
    trust: dict[str, Trust] = {}
    secrets: dict[str, SecretSettings] = {}
    permits: PermitSettings = PermitSettings()
    upstreams: dict[str, UpstreamSettings] = {}
    http: HttpSettings | None = None
    objectives: dict[Literal["minor", "major", "critical"], ObjectiveSettings] = {}
    preserve: dict[str, PreserveSettings] = {}
    keepers: dict[str, str] = {}
    escalation: EscalationSettings | None = None
    teams: dict[str, TeamSettings] = {}
    channels: dict[str, ChannelSettings] = {}
    feeds: dict[str, FeedSettings] = {}


DEFAULT_TEXT = """\
# Settings of this workspace. An edit takes effect by `failwell config apply` (a signed order).

[node]
idle_s = 900               # a node started on demand ends after 15 quiet minutes; 0 = never
interrupt_bound_ms = 50    # the stated bound from an order to the last process gone

# [mail]                   # without it nobody can be told, and doctor says so
# host = "127.0.0.1"
# port = 25
# sender = "failwell@example.org"
# security = "starttls"    # starttls | tls | none (loopback only)

# [witness.shop-log]       # the tool side's own record of what really happened
# kind = "jsonl"
# path = "/var/log/shop/notices.jsonl"
# agent = "refund-bot"
# tool = "notices.send"
# at = "sent_at"
# customer = "customer"
# action = "failwell_action"  # the tool finds it in its environment as FAILWELL_ACTION

# [tools."notices.send"]   # what runs for a tool
# command = ["/usr/local/bin/send-notice"]
# secrets = {SHOP_KEY = "shop"}  # a variable of the tool's own environment, and which secret it holds
# limits = {memory_mb = 512, cpu_s = 30}
# transaction = "shop.db"  # one of these says how it can be stopped: docs/stopping.md
# fence = ["/usr/local/bin/refuse-older"]
# confirm = ["/usr/local/bin/is-ended"]

# [tools."payments.refund"]  # what a server runs that agents ask by themselves: docs/permits.md
# permit = "orders-api"    # the server's name for itself: only permits for it are given

# [permits]
# lifetime_s = 30          # how long a permit is good, and so how long after a stop one can still be used

# [secrets.shop]           # kept by the node: no agent, no entry and no answer ever holds it
# file = "/etc/failwell/shop.key"  # or env = "SHOP_KEY", or command = ["/usr/local/bin/vault", "read", "shop"]

# [sources."orders.paid_amount"]  # whom the gate asks for a fact that a contract looks up
# command = ["/usr/local/bin/paid-amount"]  # arguments as JSON on its input, one JSON value on its output
# deadline_ms = 1000

# [revocation.vendor-bot]  # how a detect-only agent loses its access when it is suspended
# command = ["/usr/local/bin/vendor", "tokens", "revoke", "vendor-bot"]
# confirm = ["/usr/local/bin/vendor", "tokens", "is-revoked", "vendor-bot"]  # ends with 0 once access is gone

# [objectives.critical]    # what is agreed for incidents, in seconds from their detection; a breach is a signal
# acknowledge_s = 900
# investigate_s = 14400
# resolve_s = 259200

# [preserve.refund-bot]    # where an agent works: copied with every hold on it
# agent = "refund-bot"
# directories = ["/srv/agents/refund-bot"]

# [keepers]                # who keeps a tool's own records, and is asked to keep what belongs to an incident
# "payments.*" = "bert"

# [escalation]             # who is told of an incident until somebody takes it: docs/escalation.md
# timezone = "Europe/Berlin"
# [[escalation.steps]]
# notify = "owner"         # owner | team:NAME | role:NAME | person:NAME
# by = ["email"]           # or the name of a channel
# ack_within_s = 900
# [channels.pager]
# kind = "pagerduty"       # webhook | pagerduty | slack | terminal | desktop | apprise
# secret = "pd"

# [feeds.soc]              # another system that is told of incidents: docs/feeds.md
# kind = "ocsf"            # or servicenow, jira
# to = "file:/var/log/failwell/incidents.jsonl"

# [identity]
# certificate_minutes = 60   # how long the certificates of agents are good, 5 to 1440

# [trust.mesh]             # another authority that says who an agent is
# kind = "x509-svid"       # or "oidc", with issuer, audience, jwks and agents
# trust_domain = "shop.example"
# bundle = "/etc/spiffe/shop.example.pem"
"""


def parse_settings(text: str, name: str = FILE_NAME) -> Settings:
    """The settings that TOML `text` spells; InputError names the field that is wrong."""
    try:
        found = msgspec.convert(tomllib.loads(text), Settings, strict=True)
        for witness, log in found.witness.items():
            log.log(witness)
        for source, declared in found.sources.items():
            declared.check(source)
        for secret, kept in found.secrets.items():
            kept.check(secret)
        for upstream, server in found.upstreams.items():
            server.check(upstream)
            held = check_held if server.command else check_headers
            held(f"[upstreams.{upstream}]", server, found.secrets)
        for tool, runs in found.tools.items():
            check_held(f'[tools."{tool}"]', runs, found.secrets)
            if tool.partition(".")[0] in found.upstreams:
                check_forwarded(tool, runs)
            elif not runs.command and runs.permit is None and not runs.runs_function:
                raise InputError(
                    f'[tools."{tool}"]: nothing runs for it: no command, no permit for a server, no transaction for a'
                    " function",
                    hint="Say command, permit (docs/permits.md) or transaction (docs/stopping.md).",
                )
        if found.http is not None:
            found.http.check()
        _check_telling(found)
        return found
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError(f"{name}: {error}", hint="failwell config show prints the settings in force.") from error


def _check_telling(found: Settings) -> None:
    if found.mail is not None and found.mail.inbox is not None:
        found.mail.inbox.check()
    house = found.escalation or EscalationSettings()
    house.check()
    for team, turns in found.teams.items():
        turns.check(team)
    for name, channel in found.channels.items():
        channel.check(name)
    check_telling(house.steps, found.teams, found.channels, found.secrets)
    for name, feed in found.feeds.items():
        feed.check(name, found.secrets)


def read_settings(workspace: Path) -> Settings:
    """The settings that the workspace's file proposes; InputError when it cannot be read."""
    path = workspace / FILE_NAME
    try:
        return parse_settings(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


#: Tables whose keys a person names; those of later releases are left out where they are empty, so that an upgrade
#: alone changes no settings in force.
_LATER = ("revocation", "sources", "trust", "secrets", "upstreams", "preserve", "teams", "channels", "feeds")
_TABLES = ("witness", "tools", *_LATER)
_LATER_SECTIONS: dict[str, object] = {
    "identity": IdentitySettings(), "permits": PermitSettings(), "http": None, "objectives": {}, "keepers": {},
    "escalation": None,
}  # fmt: skip
#: Fields of later releases in sections that were there before, left out where they say what is so by itself.
_LATER_FIELDS: dict[str, dict[str, object]] = {
    "node": {"warm_supervisors": 2, "self_test_minutes": 60},
    "mail": {"inbox": None},
    "tools": {
        "secrets": {}, "limits": None, "output_cap_bytes": None, "fence": None, "confirm": None,
        "stop_deadline_ms": 10_000, "transaction": None, "permit": None, "probe": None,
    },
}  # fmt: skip


def settings_text(settings: Settings) -> str:
    """Canonical JSON of the settings, as it stands in the ledger. Keys outside the profile (tool names) go as pairs."""
    built = msgspec.to_builtins(settings)
    built["node"] = _without_later("node", built["node"])
    if built["mail"] is not None:
        built["mail"] = _without_later("mail", built["mail"])
    built["tools"] = {name: _without_later("tools", fields) for name, fields in built["tools"].items()}
    for table in _TABLES:
        built[table] = [[name, _pairs(fields)] for name, fields in sorted(built[table].items())]
        if table in _LATER and not built[table]:
            del built[table]
    built["keepers"] = [[pattern, person] for pattern, person in sorted(settings.keepers.items())]
    for section, default in _LATER_SECTIONS.items():
        if getattr(settings, section) == default:
            del built[section]
    return canonical.encode(built).decode()


def _without_later(section: str, fields: dict[str, object]) -> dict[str, object]:
    later = _LATER_FIELDS[section]
    return {name: value for name, value in fields.items() if name not in later or value != later[name]}


#: Fields that are tables themselves, whose keys a person names.
_PAIRED = ("agents", "env", "people", "secrets", "tools")


def _pairs(fields: dict[str, object]) -> dict[str, object]:
    return {
        name: [[key, value[key]] for key in sorted(value)] if name in _PAIRED and isinstance(value, dict) else value
        for name, value in fields.items()
    }


def settings_from_text(text: str) -> Settings:
    """The settings of a `config` entry."""
    built = canonical.decode(text.encode())
    for table in _TABLES:
        built[table] = {
            name: {
                key: dict(value) if key in _PAIRED and isinstance(value, list) else value
                for key, value in fields.items()
            }
            for name, fields in built.get(table, ())
        }
    built["keepers"] = dict(built.get("keepers", ()))
    return msgspec.convert(built, Settings, strict=True)
