"""Readers of the tool side's own logs: which one, from the settings."""

from __future__ import annotations

from pathlib import Path

from failwell.effects.jsonl import JsonLinesReader
from failwell.effects.settings import JsonLines, Settings
from failwell.effects.sqlite_table import SqliteTableReader
from failwell.ports.effects import EffectReader


def open_reader(settings: Settings, root: Path) -> EffectReader:
    """The reader of one witness; `root` is where a relative path begins. Opens nothing until it reads."""
    if isinstance(settings, JsonLines):
        return JsonLinesReader(settings, root)
    return SqliteTableReader(settings, root)
