"""Token rows: how an entry names and binds the rows of the token map that it brought.

Standard library only: the stand-alone verifier holds token rows against their entries too. What a token stands for is
the vault's.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

#: Token row ids are entry number times this plus position: no entry has room for as many digests, so no two entries
#: can claim one row.
MAX_TOKENS: Final = 1024


def token_digest(token: str, lookup: bytes, sealed: bytes) -> str:
    """What an entry's `tokens` holds for a token row (the fields have fixed or self-delimiting lengths)."""
    return sha256(token.encode() + b"\0" + lookup + sealed).hexdigest()
