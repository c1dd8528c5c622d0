"""Permits that leave the node, as the record knows them: by which key they are signed.

The key's entry makes a row; that a permit was issued makes none, because it changes no verdict: the action that it is
for stays open until its end is told, like any other (`verify.permits` holds each against its decision).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failwell.core import kinds
from failwell.core.projections import Projections
from failwell.core.records import Entry


def _key(state: Projections, entry: Entry[Any], body: kinds.PermitKey, at_us: int) -> None:
    state.change("workspace", 1, permit_key=(entry.seq, body.kid))


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {kinds.PermitKey: _key}
