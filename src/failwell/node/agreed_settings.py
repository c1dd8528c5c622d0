"""Settings of what was agreed about incidents: how long each step may take, and what is copied with a hold (D9)."""

from __future__ import annotations

from typing import Annotated

import msgspec


class ObjectiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was agreed for incidents of one severity, in seconds from their detection; a breach is a signal."""

    acknowledge_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] | None = None
    investigate_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] | None = None
    resolve_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] | None = None


class PreserveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Directories that an agent works in: copied and digested with every hold on it."""

    agent: str
    directories: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(min_length=1)]
    most_mb: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256
    most_files: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 20_000
