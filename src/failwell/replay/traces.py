"""Readers of recorded agent runs: what a model proposed, in which words, and what the tools answered.

Three recordings are told apart by their content, never by a file's name, plain or gzip alike:

    AgentDojo   one JSON object per line; the first line is a summary, every other `{messages, metadata}`
    tau-bench   an array of `{task_id, trial, reward, traj}`, arguments as JSON strings
    messages    OpenAI-style `{"messages": [...]}`: one per line, one alone, an array of them, or one
                conversation as the bare array of its messages

Results pair **by order** within a run: a tool message answers the oldest call that has none yet, because
recorded call ids are empty, repeated or missing; a call that is never answered has the result None. Arguments
leave here as the JSON text that was recorded (98.7 stays 98.7, a duplicate key stays a duplicate key), so
that what is judged is what the model wrote. Words that are empty or blank are no words: None.

The suite of a run is `metadata.suite_name` where the recording has it (AgentDojo); for tau-bench it is the
domain that the first line of its system prompt names ("# Airline Agent Policy": airline); else None.

This module does not judge, checks no argument against anything and does not know the gate. A text it cannot
read is an `InputError` with file and place, never a run left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from failwell.core.errors import InputError
from failwell.replay.files import opened, parsed

Scalar = str | int | float | bool | None

_METADATA_TEXT_LIMIT = 200
_TAU_DOMAIN = re.compile(r"\s*#\s*(\w+)\s+agent\s+policy\s*(?:\n|$)", re.IGNORECASE)
_RESULT_ROLES = frozenset({"tool", "function"})
_SILENT_ROLES = frozenset({"system", "developer", "user"})
# Parts by which other protocols carry calls and results: passing over one would lose an action.
_FOREIGN_PARTS = frozenset({"tool_use", "tool_result", "tool_call", "function_call", "function_call_output"})


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One tool call of a recorded run; `ordinal` counts from 1 within the run, `arguments` is JSON text."""

    ordinal: int
    tool: str
    arguments: bytes
    words: str | None
    result: str | None
    error: bool


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One recorded task; `ordinal` counts from 1 within its file, `file_digest` is of the file as stored."""

    file_digest: str
    file_name: str
    ordinal: int
    suite: str | None
    request: str | None
    calls: tuple[RecordedCall, ...]
    metadata: Mapping[str, Scalar]


@dataclass(slots=True)
class ReadCounts:
    """What a reader met; nothing it leaves aside goes uncounted. One may be handed on from file to file."""

    runs: int = 0
    calls: int = 0
    calls_without_result: int = 0
    calls_without_words: int = 0
    results_without_call: int = 0
    results_out_of_order: int = 0
    summaries: int = 0
    blank_lines: int = 0


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    content: str | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: Raw


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    tool_call_id: str | None = None
    error: Any = None


class _Record(msgspec.Struct):
    messages: list[_Message] | UnsetType = UNSET
    traj: list[_Message] | UnsetType = UNSET
    metadata: Any = None
    task_id: int | str | None = None
    trial: int | str | None = None
    reward: float | None = None


def read_runs(path: str | Path, counts: ReadCounts | None = None) -> Iterator[RecordedRun]:
    """Yield the recorded runs of one file in file order.

    `path` is a .json or .jsonl file or a gzip of one; `counts`, if given, is added to while reading. One run
    is in memory at a time where the file is JSON lines, one file where it is an array. Raises NotFound if
    there is no such file, and InputError with file and place on whatever is not a recorded run.
    """
    path = Path(path)
    counts = ReadCounts() if counts is None else counts
    with opened(path) as file:
        ordinal = 0
        for index, (place, text) in enumerate(file.texts()):
            if index == 0 and _is_summary(text, place):
                counts.summaries += 1
                continue
            ordinal += 1
            yield _run(parsed(text, _Record, place), place, file.digest, path.name, ordinal, counts)
        counts.blank_lines += file.blank_lines
        if ordinal == 0:
            raise InputError(f"{path}: no recorded run in this file")


def count_runs(path: str | Path) -> int:
    """Count the runs of one file without decoding them, for progress; `read_runs` is what checks them."""
    with opened(Path(path)) as file:
        texts = enumerate(file.texts())
        return sum(not (index == 0 and _is_summary(text, place)) for index, (place, text) in texts)


def _is_summary(text: bytes, place: str) -> bool:
    """AgentDojo opens a file with `{"metadata": {"benchmark": ...}}`; no run, and only the first may be."""
    keys = parsed(text, dict[str, Raw], place)
    return keys.keys() == {"metadata"} and b'"benchmark"' in bytes(keys["metadata"])


def _run(record: _Record, place: str, digest: str, name: str, ordinal: int, counts: ReadCounts) -> RecordedRun:
    is_tau = record.traj is not UNSET
    messages = record.traj if record.traj is not UNSET else record.messages
    if messages is UNSET:
        raise InputError(
            f"{place}: no recorded run here (neither `messages` nor `traj`)",
            hint="Known: AgentDojo runs, tau-bench trajectories, OpenAI-style messages.",
        )
    calls = _calls(messages, place, is_tau, counts)
    counts.runs += 1
    return RecordedRun(
        file_digest=digest,
        file_name=name,
        ordinal=ordinal,
        suite=_tau_domain(messages, place) if is_tau else _suite_name(record.metadata),
        request=_request(messages, place),
        calls=calls,
        metadata=MappingProxyType(_metadata(record, is_tau)),
    )


# -- calls and results -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Pairing:
    """The calls of one run as proposed, and the answers so far: the n-th answer belongs to the n-th call."""

    counts: ReadCounts
    calls: list[tuple[str, bytes, str | None, str]] = field(default_factory=list)
    answers: list[tuple[str, bool]] = field(default_factory=list)

    def propose(self, function: _Function, words: str | None, call_id: str, place: str) -> None:
        if not function.name:
            raise InputError(f"{place}: a call without the name of a tool")
        self.calls.append((function.name, _arguments(function.arguments, place), words, call_id))

    def answer(self, call_id: str, text: str, error: bool) -> None:
        if len(self.answers) == len(self.calls):
            self.counts.results_without_call += 1
            return
        waiting = [each[3] for each in self.calls[len(self.answers) :]]
        # By order all the same; ids that say otherwise are counted, so that the order is not trusted blindly.
        self.counts.results_out_of_order += bool(call_id) and call_id != waiting[0] and call_id in waiting
        self.answers.append((text, error))

    def paired(self) -> tuple[RecordedCall, ...]:
        self.counts.calls += len(self.calls)
        self.counts.calls_without_result += len(self.calls) - len(self.answers)
        self.counts.calls_without_words += sum(words is None for _, _, words, _ in self.calls)
        answers: list[tuple[str | None, bool]] = [*self.answers]
        answers += [(None, False)] * (len(self.calls) - len(answers))
        pairs = enumerate(zip(self.calls, answers, strict=True), 1)
        return tuple(
            RecordedCall(ordinal, tool, arguments, words, result, error)
            for ordinal, ((tool, arguments, words, _), (result, error)) in pairs
        )


def _calls(messages: list[_Message], place: str, is_tau: bool, counts: ReadCounts) -> tuple[RecordedCall, ...]:
    pairing = _Pairing(counts)
    for number, message in enumerate(messages, 1):
        where = f"{place}, message {number}"
        text = _text(message, where)
        if message.role == "assistant":
            words = text if text.strip() else None
            for call in message.tool_calls or ():
                pairing.propose(call.function, words, call.id or "", where)
            if message.function_call is not None:
                pairing.propose(message.function_call, words, "", where)
        elif message.role in _RESULT_ROLES:
            result, failed = _result(message, text, is_tau)
            pairing.answer(message.tool_call_id or "", result, failed)
        elif message.role not in _SILENT_ROLES:
            raise InputError(f"{where}: unknown role {message.role!r}")
    return pairing.paired()


def _arguments(raw: Raw, place: str) -> bytes:
    """Return the recorded JSON text; where it is a JSON string (OpenAI, tau-bench), that holds the text."""
    text = bytes(raw)
    return parsed(raw, str, place).encode() if text.startswith(b'"') else text


def _text(message: _Message, place: str) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    for part in message.content:
        if part.type in _FOREIGN_PARTS:
            raise InputError(
                f"{place}: a content part of type {part.type!r} is not OpenAI-style",
                hint="Write calls as `tool_calls` and results as messages of role `tool`.",
            )
    return "\n".join(part.text or part.content or "" for part in message.content)


def _result(message: _Message, text: str, is_tau: bool) -> tuple[str, bool]:
    """AgentDojo names an error beside an empty content; tau-bench answers with a text "Error: ..."."""
    if message.error:
        return (text or str(message.error)), True
    return text, is_tau and text.startswith("Error:")


# -- what is known about a run ---------------------------------------------------------------------


def _request(messages: list[_Message], place: str) -> str | None:
    first = next((message for message in messages if message.role == "user"), None)
    return None if first is None else _text(first, place)


def _suite_name(metadata: object) -> str | None:
    name = metadata.get("suite_name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) and name else None


def _tau_domain(messages: list[_Message], place: str) -> str | None:
    system = next((message for message in messages if message.role == "system"), None)
    named = _TAU_DOMAIN.match(_text(system, place)) if system is not None else None
    return named.group(1).lower() if named else None


def _metadata(record: _Record, is_tau: bool) -> dict[str, Scalar]:
    """Keep what is small and flat: a benchmark's marks on the run, never a second copy of it."""
    if is_tau:
        return {"task_id": record.task_id, "trial": record.trial, "reward": record.reward}
    given = record.metadata if isinstance(record.metadata, dict) else {}
    return {key: value for key, value in given.items() if _is_small(value)}


def _is_small(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _METADATA_TEXT_LIMIT
    return value is None or isinstance(value, bool | int | float)
