"""Entries read with the standard library alone: the decoder that the stand-alone verifier hands to `verify.record`.

Implements the reading side of RFC 8785 under the ledger's profile, as `core.canonical` does: bytes are accepted only
if they are the one spelling of what they say. The envelope is checked field by field; of the bodies only those that
the chain of a log reads (`verify.envelope`). Others may be of a kind that this release does not know: their bytes,
place and hash are checked then, their meaning is not, and `KNOWN` tells which those are.
"""

from __future__ import annotations

import re
from json import JSONDecoder, JSONEncoder
from typing import Any, Final, NamedTuple, NoReturn

from failwell.core.errors import Corrupt
from failwell.verify.envelope import CONTINUED, GENESIS, HEADS, LOG_KEY

MAX_ENTRY_BYTES: Final = 65_535
MAX_DEPTH: Final = 32
#: From here on an integer, its text and the double that others read are not one number (RFC 7493, 2.2).
_INTEGER_LIMIT: Final = 2**53
#: No stranger fills memory with keys of their own making.
_KEPT_ROWS: Final = 1024
_KEPT_KEYS: Final = 64

#: Kinds and versions whose meaning this release knows, though not all of it is checked here.
KNOWN: Final = frozenset(
    {
        (kind, 1)
        for kind in (
            "access.revoked", "acknowledged", "agent.assigned", "agent.certificate", "agent.grouped", "agent.key",
            "agent.registered", "authority.changed", "authority.informed", "change.claimed", "clock", "compensated",
            "compensation.begun", "compensation.ordered", "config", "contact.asked", "contact.verified",
            "containment.measured", "continued", "contract.adopted", "custody.probed", "customer.restored",
            "customer.told", "decision", "directory.preserved", "effect.witnessed", "ensured", "executor.tested",
            "floor.adopted", "genesis", "heads", "health", "hold.described", "hold.lifted", "hold.placed",
            "hold.proposed", "host.registered", "identity.issuer", "incident.changed", "incident.merged",
            "incident.noted", "incident.offered", "incident.opened", "incident.proposed", "incident.task",
            "incident.task.ended", "incident.updated", "interrupt.attempted", "interrupt.confirmed",
            "interrupt.ordered", "interrupt.unconfirmed", "leftovers.swept", "log.key", "node.started", "node.stopped",
            "node.takeover", "noticed", "objective.missed", "observation", "order", "outcome", "page.attempted",
            "page.queued", "permit.issued", "permit.key", "person.enrolled", "person.left", "posture",
            "preservation.asked", "reason.given", "refusals", "release.approved", "release.broken", "release.over",
            "release.proposed", "release.reviewed", "response.rules", "run.closed", "run.opened", "run.stopped",
            "scope.lifted", "scope.proposed", "scope.stopped", "seen", "signal", "started", "state.preserved",
            "ticket.decided", "ticket.expired", "ticket.opened", "upstream.ended", "upstream.listed", "work.ended",
            "work.left", "channel.asked", "channel.proven", "clock.ended", "clock.met", "clock.missed",
            "clock.reminded", "clock.started", "digest.made", "digest.received", "escalation.ended",
            "escalation.started", "escalation.stepped", "feed.delivered", "feed.failed", "page.answered",
            "page.bounced", "page.bundled", "team.covered", "team.turned", "team.uncovered", "time.zones",
        )
    }
    | {
        (kind, 2)
        for kind in (
            "acknowledged", "agent.registered", "decision", "page.attempted", "page.queued", "release.approved",
            "release.proposed", "run.opened",
        )
    }
    | {("page.queued", 3), ("page.queued", 4)}
)  # fmt: skip


class Citation(NamedTuple):
    """Entry `seq` of log `origin` by its leaf (hex)."""

    origin: str
    seq: int
    leaf: str


class Blob(NamedTuple):
    """SHA-256 (hex) of an entry's ciphertext and of its wrapped key."""

    ciphertext: str
    key: str


class Body:
    """A body that the chain reads, its fields as attributes."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.__dict__ = fields

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Entry:
    """`verify.envelope.Envelope`: the fields of one entry as attributes. `body` is a dict but for kinds in BODIES."""

    actor: str
    agent: str | None
    aprev: int | None
    aseq: int | None
    at: str
    blob: Blob | None
    body: Any
    boot: str
    kind: str
    mono_us: int
    origin: str
    refs: tuple[Citation, ...]
    run: int | None
    seq: int
    tokens: tuple[str, ...]
    v: int

    def __init__(self, fields: dict[str, Any]) -> None:
        self.__dict__ = fields  # four times as fast as setting sixteen attributes


_TEXT, _NUMBER, _OPTIONAL_TEXT, _OPTIONAL_NUMBER = (str,), (int,), (str, type(None)), (int, type(None))

#: The bodies that the chain of a log reads, each field with the types that it may have.
BODIES: Final[dict[tuple[str, int], dict[str, tuple[type, ...]]]] = {
    (GENESIS, 1): {"format": _NUMBER, "log_key": _TEXT, "mode": _TEXT, "software": _TEXT},
    (HEADS, 1): {"agents": _NUMBER, "root": _TEXT, "upto": _NUMBER},
    (LOG_KEY, 1): {"key": _TEXT, "statement": _TEXT, "was": _TEXT},
    (CONTINUED, 1): {
        "key": _TEXT, "lost_note": _OPTIONAL_TEXT, "lost_root": _OPTIONAL_TEXT, "lost_size": _OPTIONAL_NUMBER,
        "root": _TEXT, "size": _NUMBER, "was": _TEXT, "why": _TEXT,
    },
}  # fmt: skip
_READ_KINDS: Final = frozenset(kind for kind, _ in BODIES)

#: The envelope's fields in canonical order, each with the types that it may have.
_FIELDS: Final[dict[str, tuple[type, ...]]] = {
    "actor": _TEXT, "agent": _OPTIONAL_TEXT, "aprev": _OPTIONAL_NUMBER, "aseq": _OPTIONAL_NUMBER, "at": _TEXT,
    "blob": (dict, type(None)), "body": (dict,), "boot": _TEXT, "kind": _TEXT, "mono_us": _NUMBER, "origin": _TEXT,
    "refs": (list,), "run": _OPTIONAL_NUMBER, "seq": _NUMBER, "tokens": (list,), "v": _NUMBER,
}  # fmt: skip
_NAMES: Final = tuple(_FIELDS)
_BLOB: Final = Blob._fields
#: Rows of types that fit: every mixture met so far, so that one look decides for nearly all entries.
_fitting: set[tuple[type, ...]] = set()

_KEY: Final = re.compile(r"[a-z0-9_.-]+")
#: Rows of keys that were looked at, so that nearly every object costs one look. Bounded: see _KEPT_ROWS.
_key_rows: set[tuple[str, ...]] = set()

#: A number of 2^53 or more has 16 digits or more. Texts and digests have such runs too: a hit asks for a closer look.
_SIXTEEN_DIGITS: Final = re.compile("[0-9]{16}").search


class _Refused(ValueError):
    """What the profile does not allow."""


def _float(_literal: str) -> NoReturn:
    raise _Refused("floats are not allowed")


def _constant(_name: str) -> NoReturn:
    raise _Refused("NaN and infinities are not JSON")


_decoder: Final[Any] = JSONDecoder(parse_float=_float, parse_constant=_constant)
#: Without `decode`'s search for space around the value, which is none of ours.
_scan: Final = _decoder.scan_once
_encode: Final = JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def decode_entry(seq: int, data: bytes) -> Entry:
    """The entry that `data` (of row `seq`) is the one spelling of.

    Raises Corrupt for everything outside the profile, another spelling, and an envelope or a body that the chain reads
    with missing, unknown or mistyped fields. An unknown kind is not an error.
    """
    fields, text = _scanned(data)
    # Canonical keys come sorted, so the names stand in the one order.
    if type(fields) is not dict or tuple(fields) != _NAMES:
        raise Corrupt("it does not have the fields of an entry")
    types = tuple(map(type, fields.values()))
    if types not in _fitting:
        _check_types(fields, _FIELDS, "an entry")
        _fitting.add(types)
    keys = len(_NAMES) + _check_keys(fields["body"], MAX_DEPTH - 1)  # all else in it has a fixed shape
    refs, blob = list(map(_citation, fields["refs"])), fields["blob"]
    if blob is not None:
        keys += len(_BLOB)
        blob = _blob(**blob) if tuple(blob) == _BLOB else _no_blob()
    for token in fields["tokens"]:
        if type(token) is not str:
            raise Corrupt("a token's digest is not text")
    _check_spelling(fields, text, keys)
    fields["refs"], fields["blob"] = refs, blob
    if fields["kind"] in _READ_KINDS:
        fields["body"] = _body(fields)
    return Entry(fields)


def decode(data: bytes) -> Any:
    """The value of profile bytes: accepts exactly what `core.canonical.decode` accepts. Raises Corrupt."""
    value, text = _scanned(data)
    keys = _check_keys(value, MAX_DEPTH) if type(value) is dict or type(value) is list else 0
    _check_spelling(value, text, keys)
    return value


def _scanned(data: bytes) -> tuple[Any, str]:
    """The value of JSON text that holds nothing else, and the text; floats, NaN and infinities are refused."""
    if len(data) > MAX_ENTRY_BYTES:
        raise Corrupt(f"{len(data)} bytes, at most {MAX_ENTRY_BYTES} are allowed")
    try:
        text = data.decode("utf-8")
        value, end = _scan(text, 0)
    except RecursionError:
        raise Corrupt(f"nested more than {MAX_DEPTH} deep") from None
    except StopIteration:
        raise Corrupt("not JSON") from None
    except UnicodeDecodeError as error:
        raise Corrupt(f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise Corrupt(f"not in the profile: {error}") from None
    if end != len(text):
        raise Corrupt("something stands behind the value")
    return value, text


def _check_spelling(value: Any, text: str, keys: int) -> None:
    """That `text` is the one spelling of `value`, in which `_check_keys` counted so many keys, all in order.

    INVARIANT: what writing the value again gives is its one spelling. Where no character is escaped, that need not be
    done, which saves a fourth of all time: each string then stands as itself between two quotes, and what JSON leaves
    open is only space, the sign of zero, and a key that stands twice, of which the parser keeps one.
    """
    if "\\" in text:
        same = _encode(value) == text
        outside = text
    else:
        outside = "".join(text.split('"')[::2])
        loose = " " in outside or "\n" in outside or "\t" in outside or "\r" in outside or "-0" in outside
        same = not loose and outside.count(":") == keys
    if not same:
        raise Corrupt("not in canonical form: spaces, order or doubling of keys, escapes or numbers differ")
    if _SIXTEEN_DIGITS(outside):
        _check_integers(value)


def _check_keys(container: Any, levels: int) -> int:
    """The letters and order of keys, and the depth, of everything within; how many keys there are."""
    if not levels:
        raise Corrupt(f"nested more than {MAX_DEPTH} deep")
    keys = 0
    if type(container) is dict:
        if tuple(container) not in _key_rows:
            _check_new_keys(container)
        keys = len(container)
        container = container.values()
    for each in container:
        if type(each) is dict or type(each) is list:
            keys += _check_keys(each, levels - 1)
    return keys


def _check_new_keys(container: dict[str, Any]) -> None:
    row = tuple(container)
    for key in row:
        if _KEY.fullmatch(key) is None:
            raise Corrupt(f"key {key[:40]!r} has other characters than a-z 0-9 _ . -")
    if list(row) != sorted(row):
        raise Corrupt("not in canonical form: keys are out of order")
    short = len(row) <= _KEPT_KEYS and max(map(len, row), default=0) <= _KEPT_KEYS
    if short and len(_key_rows) < _KEPT_ROWS:
        _key_rows.add(row)


def _check_integers(value: Any) -> None:
    if type(value) is dict:
        value = list(value.values())
    if type(value) is list:
        for each in value:
            _check_integers(each)
    elif type(value) is int and not -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
        raise Corrupt("an integer of 2^53 or more")


# ------------------------------------------------------------------------------------------------- the envelope


def _check_types(fields: dict[str, Any], wanted: dict[str, tuple[type, ...]], what: str) -> None:
    if fields.keys() != wanted.keys():
        raise Corrupt(f"it does not have the fields of {what}")
    for name, types in wanted.items():
        if type(fields[name]) not in types:
            raise Corrupt(f"field {name} of {what} has a value of the wrong type")


def _citation(value: Any) -> Citation:
    if type(value) is list and len(value) == 3:
        origin, seq, leaf = value
        if type(origin) is str and type(seq) is int and type(leaf) is str:
            return Citation(origin, seq, leaf)
    raise Corrupt("a reference is not an origin, a number and a leaf")


def _blob(ciphertext: Any, key: Any) -> Blob:
    return Blob(ciphertext, key) if type(ciphertext) is str and type(key) is str else _no_blob()


def _no_blob() -> NoReturn:
    raise Corrupt("a blob is not two digests")


def _body(fields: dict[str, Any]) -> Body:
    kind, v = fields["kind"], fields["v"]
    wanted = BODIES.get((kind, v))
    if wanted is None:
        # A later version of what the chain of a log is made of: going on would be guessing.
        raise Corrupt(f"{kind} version {v} is not known to this verifier")
    _check_types(fields["body"], wanted, f"the body of {kind}")
    return Body(fields["body"])
