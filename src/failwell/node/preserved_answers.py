"""What was preserved of an action that was stopped, as it is told: texts in clear, held against their commitments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from failwell.core import kinds
from failwell.core.records import decode_entry
from failwell.ledger.vault import commitment

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How far behind the decision its entry is looked for: a few seconds of a busy record's reading.
SEARCHED, PAGE = 500_000, 2000


def preserved(node: Node, action: int) -> dict[str, Any] | None:
    """What is told of an action, by its decision; None where nothing was preserved, or it lies too far behind."""
    first = action + 1
    while first < action + SEARCHED and (page := node.storage.entries(first, PAGE)):
        for stored in page:
            body = decode_entry(stored.data).body if b'"state.preserved"' in stored.data else None
            if isinstance(body, kinds.StatePreserved) and body.decision == action:
                return _told(node, stored.seq, body)
        first = page[-1].seq + 1
    return None


def _told(node: Node, seq: int, body: kinds.StatePreserved) -> dict[str, Any]:
    blob = node.storage.blob(seq)
    secret = {} if blob is None else node.vault.open(blob)
    salt = bytes.fromhex(secret.get("salt", ""))
    texts = {name: secret.get(name) for name in ("snapshot", "directory")}
    holds = all(
        getattr(body, name) == (None if text is None else commitment(salt, text.encode()))
        for name, text in texts.items()
    )
    return {
        "entry": seq, "processes": body.processes, "took_us": body.took_us, "files": body.files, "bytes": body.bytes,
        "complete": body.complete, "missing": body.missing, "holds": holds,
        **{name: _read(text) for name, text in texts.items()},
    }  # fmt: skip


def _read(text: str | None) -> Any:
    """The value that a text is; the text itself where a supervisor wrote what is none."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
