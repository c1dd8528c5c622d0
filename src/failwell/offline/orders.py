"""Signed orders under the keys of the persons that the record enrols: the cheap half of step 8 (RFC 8032).

`verify.powers` also shows that each use of a power stood behind its order, for which the rules are needed; here only
the signatures are. Walks behind the chain, entry by entry.
"""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256
from typing import Any, Final

from failwell.core.errors import Corrupt
from failwell.offline.entries import Entry, decode
from failwell.verify.anchors import VerifySignature
from failwell.verify.envelope import ORDER
from failwell.verify.finding import ORDERS, Findings

_ENROLLED: Final = "person.enrolled"
_SIGNED_PREFIX: Final = b"failwell/order/1\n"
_INIT: Final = "init"


class Orders:
    """Takes the entries in order; `unknown` counts those of kinds that this verifier does not know."""

    def __init__(self, findings: Findings, verify: VerifySignature, known: frozenset[tuple[str, int]]) -> None:
        self._findings = findings
        self._verify = verify
        self._known = known
        #: Known kinds of which nothing is looked at: nearly all entries are of these.
        self._passed = frozenset(kind for kind, v in known if v == 1) - {ORDER, _ENROLLED}
        self._keys: dict[str, bytes] = {}
        self._stopped_at: int | None = None
        self.count = 0
        self.unknown: dict[tuple[str, int], int] = {}

    def stop(self, seq: int) -> None:
        """Entry `seq` is missing or unreadable: whose keys are enrolled cannot be told from there on."""
        if self._stopped_at is None:
            self._stopped_at = seq

    def take(self, entry: Entry, leaf: bytes) -> None:
        """Hold an order's signature against the key that was enrolled for its person by then."""
        kind = entry.kind
        if entry.v == 1 and kind in self._passed:
            return
        if (kind, entry.v) not in self._known:
            self.unknown[kind, entry.v] = self.unknown.get((kind, entry.v), 0) + 1
        if self._stopped_at is not None:
            return
        if kind == ORDER:
            self.count += 1
            wrong = self._fault(entry)
            if wrong is not None:
                self._findings.add(ORDERS, "order.signature", f"entry {entry.seq}: {wrong}", entry=entry.seq)
        elif kind == _ENROLLED:
            self._enrol(entry.body)

    def end(self) -> None:
        """After the last entry: say how far that goes."""
        how = f"the signatures of {self.count} orders hold; whether each power used had its order is not checked here"
        if self._stopped_at is not None:
            how = f"an entry is missing or unreadable: who was enrolled after entry {self._stopped_at} cannot be told"
        self._findings.uncheckable(ORDERS, how)

    def _enrol(self, body: Any) -> None:
        try:
            self._keys[body["person"]] = _base64(body["key"])
        except (KeyError, TypeError, ValueError):
            return  # no key of anybody's: an order under this name will say that nobody was enrolled

    def _fault(self, entry: Entry) -> str | None:
        """What is wrong with an order, None if nothing is."""
        body = entry.body
        try:
            text, signature, named = body["text"].encode(), _base64(body["signature"]), body["key"]
            order = decode(text)
            person, origin = order["person"], order["origin"]
            if (order["order"], person, f"person:{person}") != (body["order"], body["person"], entry.actor):
                return "the order's text is of another power or person than the entry says"
            key = self._keys.get(person)
            if key is None and order["order"] == _INIT and not self._keys:
                key = _base64(order["details"]["key"])
        except Corrupt as error:
            return f"the order's text cannot be read: {error.message}"
        except (KeyError, TypeError, ValueError, AttributeError):
            return "it does not have the fields of an order"
        if origin != entry.origin:
            return f"the order is for log {origin}"
        if key is None:
            return f"{person} was not enrolled"
        if named != sha256(key).hexdigest()[:16]:
            return "the order was signed with another key than the one enrolled"
        if not self._verify(key, _SIGNED_PREFIX + text, signature):
            return f"the signature of {person} does not verify"
        return None


def _base64(text: str) -> bytes:
    return b64decode(text.encode("ascii"), validate=True)
