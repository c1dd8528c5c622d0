"""Agents in telemetry: OpenTelemetry spans with `gen_ai.*` attributes, as OTLP-JSON or as JSON lines.

Source: OpenTelemetry semantic conventions for generative AI (`gen_ai.agent.name`, `gen_ai.agent.id`) and the JSON
encoding of OTLP. A span of generative AI that names no agent is counted by its `service.name`, and where that is
missing too, as an agent without a name. Nothing that a prompt or an answer said is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from failwell.core.errors import FailwellError, InputError
from failwell.core.instants import format_at
from failwell.inventory.files import opened
from failwell.inventory.sighting import MAX_SIGHTINGS, Found, Sighting, Unreadable, cut

MAX_LINE_BYTES = 16 * 1024 * 1024
#: A file that is one JSON value is read whole, so it has an end.
MAX_WHOLE_BYTES = 64 * 1024 * 1024
NAMES = ("gen_ai.agent.name", "gen_ai.agent.id", "service.name")
_LATEST_US = 253_402_300_799_000_000


def search(files: Iterable[Path]) -> Found:
    """All agents in these files of telemetry."""
    agents: dict[tuple[str | None, str, str], tuple[int, int | None]] = {}
    unreadable: list[Unreadable] = []
    read = beyond = 0
    for path in files:
        read += 1
        try:
            with opened(path) as file:
                bad = 0
                for span in _spans(file):
                    if isinstance(span, str):
                        bad += 1
                        continue
                    beyond += not _count(agents, str(path), *span)
            if bad:
                unreadable.append(Unreadable(where=str(path), why=f"{bad} lines in it are no telemetry that is known"))
        except FailwellError as error:
            unreadable.append(Unreadable(where=str(path), why=error.message))
        except OSError as error:
            unreadable.append(Unreadable(where=str(path), why=f"cannot be read: {error.strerror}"))
    if beyond:
        why = f"{beyond} spans of more than {MAX_SIGHTINGS:,} agents are not listed"
        unreadable.append(Unreadable(where="telemetry", why=why))
    sightings = tuple(
        Sighting(
            name=name, how="telemetry", where=where, what=what, count=count, at=None if at is None else format_at(at)
        )
        for (name, where, what), (count, at) in agents.items()
    )
    return Found(sightings=sightings, unreadable=tuple(unreadable), files=read)


def _count(
    agents: dict[tuple[str | None, str, str], tuple[int, int | None]], where: str, attributes: dict[str, str],
    at_us: int | None,
) -> bool:  # fmt: skip
    """Count one span; False when there are too many agents to tell."""
    by = next((name for name in NAMES if attributes.get(name)), None)
    what = "spans of generative AI that name no agent" if by is None else f"spans of generative AI, by {by}"
    place = (None if by is None else cut(attributes[by]), where, what)
    if place not in agents and len(agents) >= MAX_SIGHTINGS:
        return False
    count, last_us = agents.get(place, (0, None))
    times = [time for time in (last_us, at_us) if time is not None]
    agents[place] = count + 1, max(times, default=None)
    return True


# ---- reading ---------------------------------------------------------------------------------------------------


def _spans(file: BinaryIO) -> Iterator[tuple[dict[str, str], int | None] | str]:
    """(attributes, when it ended) of each span of generative AI; a text for a line that cannot be read."""
    first = file.readline(MAX_LINE_BYTES + 1)
    try:
        lines = isinstance(msgspec.json.decode(first), dict)
    except (msgspec.MsgspecError, RecursionError):
        lines = False
    if lines:
        yield from _line(first)
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise InputError(f"holds a line of more than {MAX_LINE_BYTES:,} bytes: what follows was not read")
            if line.strip():
                yield from _line(line)
        return
    data = first + file.read(MAX_WHOLE_BYTES + 1)
    if len(data) > MAX_WHOLE_BYTES:
        raise InputError(f"is one JSON value of more than {MAX_WHOLE_BYTES:,} bytes")
    try:
        whole = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError("is neither JSON nor lines of JSON") from error
    for each in whole if isinstance(whole, list) else [whole]:
        yield from _requests(each)


def _line(line: bytes) -> Iterator[tuple[dict[str, str], int | None] | str]:
    try:
        yield from _requests(msgspec.json.decode(line))
    except (msgspec.MsgspecError, RecursionError):
        yield "unreadable"


def _requests(value: Any) -> Iterator[tuple[dict[str, str], int | None] | str]:
    """The spans of an OTLP export request, or one span as exporters write it on a line."""
    try:
        if "resourceSpans" in value:
            for resource in value["resourceSpans"]:
                shared = _attributes(resource.get("resource", {}).get("attributes", ()))
                for scope in (*resource.get("scopeSpans", ()), *resource.get("instrumentationLibrarySpans", ())):
                    for span in scope.get("spans", ()):
                        yield from _span(span, shared)
        elif "attributes" in value:
            shared = _attributes((value.get("resource") or {}).get("attributes", ()))
            yield from _span(value, shared)
        else:
            yield "unknown"
    except (AttributeError, TypeError, KeyError):
        yield "unknown"


def _span(span: dict[str, Any], shared: dict[str, str]) -> Iterator[tuple[dict[str, str], int | None]]:
    own = _attributes(span.get("attributes", ()))
    if any(name.startswith("gen_ai.") for name in (*own, *shared)):
        yield {**shared, **own}, _ended_us(span)


def _attributes(given: Any) -> dict[str, str]:
    """Attributes as pairs of OTLP (`{"key": k, "value": {"stringValue": v}}`) or as a plain object; texts only."""
    if isinstance(given, dict):
        return {name: value for name, value in given.items() if isinstance(value, str)} | {
            name: "" for name, value in given.items() if not isinstance(value, str)
        }
    return {
        str(item["key"]): str(item["value"].get("stringValue", "")) for item in given if isinstance(item["value"], dict)
    }


def _ended_us(span: dict[str, Any]) -> int | None:
    """When a span ended, or began where that is all it says; None for a time that is none."""
    for name in ("endTimeUnixNano", "end_time_unix_nano", "startTimeUnixNano", "start_time_unix_nano"):
        value = span.get(name)
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) // 1000 < _LATEST_US:
            return int(text) // 1000
    return None
