"""What one entry has room for: a verdict on which too much was said is a denial that says so.

Attack on the record: a contract, or a chain of five, with so many rules that the decision does not fit its entry, or
its signals not their commit. What is not written down is not answered by anything: no incident, no suspension.
"""

from __future__ import annotations

from typing import Any

import msgspec

from failwell.core import kinds
from failwell.core.records import MAX_ENTRY_BYTES

#: Rules that speak in one decision. Each leaves a signal and may change the case, all in one commit of
#: `ledger.book.MAX_REACTIONS` entries at most, which has to hold the case, its containment and all mails besides.
MAX_SPOKEN = 90
#: What an entry holds besides its body, but for its tokens; and how much a token takes.
_BESIDES, _TOKEN = 4096, 80
#: Rules, facts, floors and errors together with which a decision always fits: public facts take 32 KiB at most (the
#: linter sees to it), anything else some 600 bytes each. So the common decision is encoded once.
_ALWAYS_FITS = 32
TOO_MUCH = "More rules bind this action than one entry has room for."

#: A text beyond this would not fit the entry's blob sensibly; it is cut and its digest kept.
MAX_REASON_BYTES = 16_384
#: A tool's name stands in the entry; contracts know none that is longer than 128 characters.
MAX_TOOL_NAME = 200

_ENCODER = msgspec.json.Encoder()


def fits(body: kinds.Decision2, minted: dict[bytes, Any]) -> bool:
    """Whether a decision and all that follows from it can be written down; `minted` are the tokens that it brings."""
    if len(body.clauses) + len(body.uses) + len(body.facts) + len(body.floors) + len(body.errors) <= _ALWAYS_FITS:
        return True
    if len(body.clauses) > MAX_SPOKEN:
        return False
    return len(_ENCODER.encode(body)) + _TOKEN * len(minted) + _BESIDES <= MAX_ENTRY_BYTES


def short_tool(tool: str) -> str:
    """A tool's name as an entry can hold it."""
    # Attack: a lone surrogate, which no entry can hold either. No contract lists a name with a backslash.
    tool = tool.encode("utf-8", "backslashreplace").decode()
    return tool if len(tool) <= MAX_TOOL_NAME else f"{tool[:MAX_TOOL_NAME]}... ({len(tool)} characters)"


def cut_reason(reason: str) -> bytes:
    """A reason as it lies in the blob: whole characters, so that its commitment can be verified from there."""
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
