"""The envelope as the chain reads it, whoever decoded it: `ledger verify` by typed records, the stand-alone verifier
by the standard library alone.

Names attributes and the few kinds whose bodies matter to the chain of a log; `core.kinds` holds what each body says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

GENESIS: Final = "genesis"
CLOCK: Final = "clock"
NODE_STARTED: Final = "node.started"
NODE_STOPPED: Final = "node.stopped"
HEADS: Final = "heads"
LOG_KEY: Final = "log.key"
CONTINUED: Final = "continued"
ORDER: Final = "order"
#: What a node's first entry can be: the time, a part that works again, how its forerunner's tools ended (recovery),
#: a suspension that was left for it, its own name, or the order to go on after entries were lost.
BEGINNINGS: Final = frozenset(
    {CLOCK, NODE_STARTED, "health", "outcome", "interrupt.confirmed", "interrupt.unconfirmed", ORDER, "signal"}
)
#: Kinds of which the chain reads the body, by the body's field names. All others it passes over.
READ_BODIES: Final = frozenset({GENESIS, HEADS, LOG_KEY, CONTINUED})


class Citation(Protocol):
    """`refs`: entry `seq` of log `origin` by its leaf (hex)."""

    @property
    def origin(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def leaf(self) -> str: ...


class Blob(Protocol):
    """SHA-256 (hex) of ciphertext and wrapped key."""

    @property
    def ciphertext(self) -> str: ...
    @property
    def key(self) -> str: ...


class Envelope(Protocol):
    """An entry whose bytes were shown to be its one spelling, with every field of the envelope of its type."""

    @property
    def agent(self) -> str | None: ...
    @property
    def aprev(self) -> int | None: ...
    @property
    def aseq(self) -> int | None: ...
    @property
    def at(self) -> str: ...
    @property
    def blob(self) -> Blob | None: ...
    @property
    def body(self) -> Any: ...
    @property
    def boot(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def mono_us(self) -> int: ...
    @property
    def origin(self) -> str: ...
    @property
    def refs(self) -> Sequence[Citation]: ...
    @property
    def seq(self) -> int: ...
    @property
    def tokens(self) -> Sequence[str]: ...


E = TypeVar("E", bound=Envelope)

#: `decode(seq, data)` gives the entry that `data` is the one spelling of, with attributes for the fields of the bodies
#: in READ_BODIES, each of its type; else it raises Corrupt or InputError. `seq` is for messages.
Decode = Callable[[int, bytes], E]
