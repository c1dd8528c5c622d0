"""Who calls over HTTP, and the connection to the node over which the node knows them too.

The first proof of a caller goes to the node, which judges it by the keys on record and answers with the key that the
next signatures are held against here. So a caller is known until the node says otherwise: a key that is revoked or
replaced ends its connections, and with them what this door believed of it. Whoever is turned away here is counted there
(D26). What a caller may ask is not judged here.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from failwell.core.errors import Refused
from failwell.core.instants import parse_at
from failwell.identity.http_signatures import Signed
from failwell.web.links import Link, Links
from failwell.web.replays import FIELD, Replays
from failwell.web.shown import Shown, origin_of, origins_of, read_shown

#: Proofs that are known at once; the one that was used least lately is judged anew by the node.
MAX_PROOFS: Final = 10_000
#: What those are counted as whom the door turns away by itself.
NO_PROOF: Final = "no proof over HTTP"
_COUNTED_S: Final = 1.0


class Caller(NamedTuple):
    """Whoever sent a request: `role` is agent, host or person, `name` their full name, `way` how that was shown
    (tls, signature or token). Over `wire` the node knows them too.
    """

    role: str
    name: str
    wire: Link
    way: str


class _Proof(NamedTuple):
    """What the node said of one: `key` (raw) verifies the next signatures; it holds until `until_s`."""

    caller: Caller
    key: bytes | None
    until_s: float


class Callers:
    """One door's. `addresses`: how it is reached, https://NAME[:PORT]; `tokens`: whether agents' tokens are taken."""

    def __init__(
        self, socket: Path, keys: Path, addresses: Iterable[str], *, tokens: bool = False, name: str = "http",
        most: int = 256, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._links = Links(socket, keys, name=name, most=most)
        self._links.doubted = self._doubt
        self._doubts = 0
        self._origins = origins_of(addresses)
        self._tokens = tokens
        self._clock = clock
        self._replays = Replays(clock())
        self._proofs: OrderedDict[bytes, _Proof] = OrderedDict()
        self._judging: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._turned: Counter[str] = Counter()
        self._telling: asyncio.Task[None] | None = None

    @property
    def fields(self) -> dict[str, str]:
        """Header fields that every answer bears, also a refusal."""
        return {FIELD: self._replays.door}

    def reached_as(self, addresses: Iterable[str]) -> None:
        """Further addresses of this door, such as the port that it was given."""
        self._origins |= origins_of(addresses)

    def check_host(self, scope: Mapping[str, Any]) -> None:
        """Raises Refused for a request to a server of another name; for what is answered to anyone."""
        origin_of(scope, self._origins)

    async def of(self, scope: Mapping[str, Any], body: bytes) -> Caller:
        """Who sent this request; Refused (code "unauthenticated") where nothing shows it.

        Raises Unreachable without a node, Unhealthy (code "busy") for more callers or requests than are kept.
        """
        try:
            shown = read_shown(scope, body, self._origins, tokens=self._tokens)
            self._check_new(shown.signed)
            proof = self._known(shown)
        except Refused as error:
            self._count(error)
            raise
        if proof is None:
            proof = await self._judged(shown)  # whom the node refuses it counts itself
        try:
            if shown.signed is not None:
                self._replays.take(shown.signed, self._clock())
        except Refused as error:
            self._count(error)
            raise
        return proof.caller

    def _check_new(self, signed: Signed | None) -> None:
        if signed is None:
            return
        self._replays.check(signed, self._clock())
        if self._replays.seen(signed):  # once more below, where it is remembered: this spares the node the question
            raise Refused("the request was shown before: each is taken once", code="unauthenticated")

    def _known(self, shown: Shown) -> _Proof | None:
        """What the node said of the same proof before, if that holds. Raises Refused for a signature that does not."""
        proof = self._proofs.get(shown.mark)
        if proof is None:
            return None
        if proof.caller.wire.ended.done() or self._clock() >= proof.until_s:
            del self._proofs[shown.mark]
            return None
        if shown.signed is not None and (proof.key is None or not shown.signed.holds(proof.key)):
            raise Refused(f"the signature of {shown.role} {shown.name} does not hold", code="unauthenticated")
        self._proofs.move_to_end(shown.mark)
        return proof

    async def _judged(self, shown: Shown) -> _Proof:
        """What the node says of a proof that is new here. One at a time of the same."""
        lock = self._judging.setdefault(shown.mark, asyncio.Lock())
        async with lock:
            if (known := self._known(shown)) is not None:
                return known
            doubts = self._doubts
            link, told = await self._pass_on(shown)
            until = told["until"]
            proof = _Proof(
                Caller(shown.role, told["proved"], link, shown.way),
                None if told.get("key") is None else base64.b64decode(told["key"]),
                float("inf") if until is None else parse_at(until) / 1e6,
            )
            if doubts == self._doubts:
                self._proofs[shown.mark] = proof
            while len(self._proofs) > MAX_PROOFS:
                self._proofs.popitem(last=False)
            return proof

    def _doubt(self) -> None:
        """The node trusts others than before: it judges each proof anew."""
        self._doubts += 1
        self._proofs.clear()

    async def _pass_on(self, shown: Shown) -> tuple[Link, dict[str, Any]]:
        """The connection that stands for the caller, and what the node answered."""
        link = await self._links.fresh()
        try:
            told = await self._hello(link, shown)
        except Refused:
            await self._links.give_back(link)
            raise
        except BaseException:
            # Attack: a node that is slow once. What it answers too late makes this connection that caller's, and
            # whoever came next over it would be refused as another one.
            await link.close()
            raise
        known = self._links.of(shown.role, told["proved"])
        if known is None:
            self._links.keep(shown.role, told["proved"], link)
            return link, told
        # What was begun over a connection is settled over it: another proof of the same caller leads to the same one.
        await link.close()
        return known, await self._hello(known, shown)

    @staticmethod
    async def _hello(link: Link, shown: Shown) -> dict[str, Any]:
        told: dict[str, Any] = await link.call(
            "hello", role=shown.role, name=shown.name, shown=shown.way, **shown.fields, timeout_s=10
        )
        return told

    # -- whom this door turned away ----------------------------------------------------------------------------

    def turn_away(self, kind: str) -> None:
        """Count somebody whom whoever serves turned away; `kind` is a text of ours."""
        self._turned[kind] += 1
        self._tell_soon()

    def _count(self, error: Refused) -> None:
        # Attack: reasons that strangers choose. What varies in them is cut off before it is counted.
        self.turn_away(error.message.partition(":")[0][:60] if error.code == "busy" else NO_PROOF)

    def _tell_soon(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        await asyncio.sleep(_COUNTED_S)
        counts, self._turned = self._turned, Counter()
        await self._links.turned(list(counts.items()))

    async def close(self) -> None:
        """Hang up on the node: what callers began here is theirs no more."""
        if self._telling is not None:
            self._telling.cancel()
        await self._links.close()
