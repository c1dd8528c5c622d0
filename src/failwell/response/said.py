"""What a person wrote beside an order, which holds its digest: the text goes into the blob, for it may be personal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from failwell.core.errors import InputError
from failwell.core.orders import SignedOrder
from failwell.ledger.jobs import Job
from failwell.ledger.orders import VerifyOrder
from failwell.ledger.vault import commitment

MAX_TEXT = 20_000


class Said(NamedTuple):
    """Text and salt (hex) as they came with the order; both None where nothing was written."""

    text: str | None = None
    salt: str | None = None

    def secret(self, words: str | None) -> dict[str, Any] | None:
        """What goes into the blob of the entry that holds `words`; InputError where the text is not the one signed."""
        if words is None:
            if self.text is not None:
                raise InputError("a text came with an order that is bound to none")
            return None
        if self.text is None or self.salt is None:
            raise InputError("the text that this order is bound to did not come with it")
        if len(self.text) > MAX_TEXT:
            raise InputError(f"a text of {len(self.text)} characters; at most {MAX_TEXT} are kept")
        try:
            salt = bytes.fromhex(self.salt)
            same = len(salt) >= 16 and commitment(salt, self.text.encode()) == words
        except ValueError:
            same = False
        if not same:
            raise InputError("the text is not the one that this order is bound to")
        return {"text": self.text, "salt": self.salt}


#: What carries out an order of one kind.
MakeJob = Callable[[SignedOrder, VerifyOrder, Said], Job[Any]]
