"""The check of a permit: signature, claims, time, arguments, epochs, and that it is used for the first time.

What it stands on: the node's public keys, handed to the server beforehand; the server's own clock; a memory of uses.
Nothing is fetched. RFC 7519 4.1 says what the registered claims mean, RFC 8725 3 what goes wrong with such tokens.

Why a replay after a restart fails (I3). Every permit that is ever accepted was issued, by the node's clock, at most
`leeway` after the server's time of that moment. A memory that begins at S therefore refuses whatever says that it was
issued up to S + leeway: that covers all that was accepted before S, however far the two clocks are apart. Its price is
that for `leeway` after the start permits of a node whose clock agrees are refused too (code "before-start"); with a
store that happens once, when the store is made. The server's own clock must not go back over its restart.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from failwell.core.errors import InputError
from failwell.permits.claims import Claims, Epochs, argument_digest, check_scope, decode
from failwell.permits.refusal import PermitRefused
from failwell.permits.store import Store
from failwell.permits.tokens import open_token, read_keys
from failwell.permits.used import Memory, Register, expired

MAX_LEEWAY_S: Final = 60
MAX_LIFETIME_S: Final = 3600
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to do one thing, now used up. `action` is the number of the decision in the node's record.

    `chain`: the agents that handed the work over, outermost first. `expires`: seconds since the epoch.
    """

    agent: str
    tool: str
    action: int
    audience: str
    issuer: str
    jti: str
    issued_us: int
    expires: int
    epoch: int
    chain: tuple[str, ...] = ()


class Verifier:
    """Checks permits of one log for one tool server. Thread-safe.

    Every process that checks makes one with the same store; without a store there may be only one process.
    """

    def __init__(
        self, keys: str | bytes, *, issuer: str, audience: str, store: str | os.PathLike[str] | None = None,
        leeway_s: int = 5, max_lifetime_s: int = 60, remember: int = 100_000,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:  # fmt: skip
        """`keys`: the text of `failwell permit keys`. `issuer`: the log's origin. `audience`: this server, as the
        settings of the node name it.

        `leeway_s`: how far the two clocks may be apart. `max_lifetime_s`: the longest life of a permit that is taken;
        with the leeway it bounds how long after a stop one can still be used here. `remember`: uses held in memory.
        `clock`: microseconds since the epoch. InputError for what cannot be meant.
        """
        if not issuer or not audience:
            raise InputError("a verifier is for one issuer and one audience")
        if not 0 <= leeway_s <= MAX_LEEWAY_S or not 1 <= max_lifetime_s <= MAX_LIFETIME_S or remember < 1:
            raise InputError(
                f"leeway_s is 0 to {MAX_LEEWAY_S}, max_lifetime_s 1 to {MAX_LIFETIME_S}, remember 1 or more"
            )
        self._keys = read_keys(keys)
        self._issuer, self._audience = issuer, audience
        self._leeway_us = leeway_s * _SECOND_US
        self._max_lifetime_us = max_lifetime_s * _SECOND_US
        self._clock = clock
        self._register: Register
        if store is None:
            self._register = Memory(clock(), remember)
        else:
            # The leeway is part of the proof above: two that differ must not share what they remember.
            about = {"issuer": issuer, "audience": audience, "leeway_us": str(self._leeway_us)}
            self._register = Store.open(Path(store), clock(), **about)

    def take_keys(self, keys: str | bytes) -> None:
        """Go on with another set of keys, as `failwell permit keys` prints it. InputError leaves the old one."""
        self._keys = read_keys(keys)

    def fence(self, scope: str, epoch: int) -> None:
        """Refuse from now on every permit with a lower epoch for `scope`: `agent:NAME`, `all`, `group:NAME`,
        `tool:NAME` or `contract:NAME`. It never goes down, and a permit that shows a higher one raises it. A permit
        bears epoch 0 for `action:N`, its own action: fenced at 1 nothing more is done for that.

        InputError for any other scope; PermitRefused (code "store" or "forked") where it cannot be remembered.
        """
        if type(epoch) is not int or not 0 <= epoch < 2**53:
            raise InputError(f"{epoch!r} is no epoch")
        self._register.fence(((check_scope(scope), epoch),))

    def check(
        self, token: str, *, tool: str, arguments: Mapping[str, Any] | str | bytes, agent: str | None = None,
        action: int | None = None,
    ) -> Permit:  # fmt: skip
        """The permit for this very call, which is used up by that; PermitRefused, and nothing may be done, otherwise.

        `arguments`: the object that the tool is called with, or the JSON text of it as it came, which is then read
        strictly. `agent` and `action`, where the caller is known: for whom and for which decision it must be. Ask last,
        just before acting: a permit is used up by the check, whatever comes of the act.
        """
        claims = decode(open_token(token, self._keys))
        self._check_names(claims, tool, agent, action)
        now_us = self._clock()
        until_us = claims.expires * _SECOND_US + self._leeway_us
        self._check_times(claims, now_us, until_us)
        self._check_arguments(claims, arguments)
        self._register.take(claims.jti, until_us, _once(claims.epochs), now_us)
        return Permit(
            agent=claims.agent, tool=claims.tool, action=claims.action, audience=claims.audience, issuer=claims.issuer,
            jti=claims.jti, issued_us=claims.issued_us, expires=claims.expires, epoch=claims.epoch,
            chain=tuple(name for name, _ in claims.chain),
        )  # fmt: skip

    def _check_names(self, claims: Claims, tool: str, agent: str | None, action: int | None) -> None:
        if claims.issuer != self._issuer:
            raise PermitRefused("issuer", "the permit is of another log")
        if claims.audience != self._audience:
            raise PermitRefused("audience", "the permit is for another server")
        if claims.tool != tool:
            raise PermitRefused("tool", "the permit is for another tool")
        if agent not in (None, claims.agent):
            raise PermitRefused("agent", "the permit is another agent's")
        if action not in (None, claims.action):
            raise PermitRefused("action", "the permit is for another action")

    def _check_times(self, claims: Claims, now_us: int, until_us: int) -> None:
        if claims.expires * _SECOND_US - claims.issued_us > self._max_lifetime_us:
            raise PermitRefused(
                "lifetime", f"the permit lives longer than {self._max_lifetime_us // _SECOND_US} s",
                hint="permits.lifetime_s of the node and max_lifetime_s of this server belong together.",
            )  # fmt: skip
        if now_us >= until_us:
            raise expired()
        if claims.issued_us > now_us + self._leeway_us:
            raise PermitRefused("not-yet", "the permit is from the future", hint="Compare the clocks.")
        if claims.issued_us <= self._register.since_us + self._leeway_us:
            raise PermitRefused(
                "before-start", "the permit may be older than what this server remembers",
                hint=f"Ask the gate for a new one, {self._leeway_us // _SECOND_US} s after the server's start.",
            )  # fmt: skip

    @staticmethod
    def _check_arguments(claims: Claims, arguments: Mapping[str, Any] | str | bytes) -> None:
        try:
            digest = argument_digest(claims.salt, arguments)
        except (InputError, TypeError, ValueError) as error:
            raise PermitRefused("arguments", f"the arguments cannot be read: {error}") from error
        if not hmac.compare_digest(digest, claims.digest):
            raise PermitRefused("arguments", "the permit is for other arguments")


def _once(epochs: Epochs) -> Epochs:
    """Each scope with its lowest epoch: an agent may stand twice in a chain, and a stop means both."""
    lowest: dict[str, int] = {}
    for scope, epoch in epochs:
        lowest[scope] = min(epoch, lowest.get(scope, epoch))
    return tuple(lowest.items())
