"""What an agent works with, as it declares it for a run: digests of its model, its prompt, the schemas of its tools."""

from __future__ import annotations

import hashlib
from typing import Any

from failwell.core import canonical


def digest_of(value: Any) -> str:
    """SHA-256 (lower-case hex) of a text's or bytes' own bytes, or of anything else's RFC 8785 text.

    InputError for what has none.
    """
    if isinstance(value, str):
        value = value.encode()
    return hashlib.sha256(value if isinstance(value, bytes) else canonical.jcs(value)).hexdigest()


def declared(
    model: str | None = None, prompt: str | None = None, tool_schemas: str | None = None
) -> dict[str, str | None]:  # fmt: skip
    """The digests as a run is opened with them."""
    return {"model": model, "prompt": prompt, "tool_schemas": tool_schemas}
