"""The one answer of a check that is not a permit: why, as a code for programs and in words."""

from __future__ import annotations

from typing import Final

from failwell.core.errors import Refused

#: Every code of a refusal. Which of them a caller may mend by asking again: docs/permits.md.
CODES: Final = frozenset(
    {
        "too-large", "malformed", "header", "algorithm", "type", "key", "signature", "claims", "issuer", "audience",
        "agent", "action", "tool", "arguments", "lifetime", "expired", "not-yet", "before-start", "epoch", "used",
        "full", "forked", "store",
    }
)  # fmt: skip


class PermitRefused(Refused):
    """Nothing may be done on this permit. `code` is one of `CODES`; `hint`, where there is one, says what to do."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        assert code in CODES
        super().__init__(message, hint=hint, code=code)
