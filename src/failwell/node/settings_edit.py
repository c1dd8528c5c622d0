"""Edits of `failwell.toml` as text: what stands there stays, with every remark in it, and what is new is added.

INVARIANT: an edit is given back only if the text reads as the settings of before with exactly what was meant added;
otherwise InputError says what a person has to write by hand. It writes no file and puts nothing in force.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from failwell.core.errors import InputError
from failwell.core.unseen import is_unseen
from failwell.node.kept import SecretSettings
from failwell.node.reached import UpstreamSettings

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"^[ \t]*\[[^\n]*$", re.MULTILINE)


def with_upstreams(
    text: str, upstreams: Mapping[str, UpstreamSettings], secrets: Mapping[str, SecretSettings], remark: str
) -> str:
    """`text` with these servers and secrets at its end. `remark` is one line about where they come from."""
    if not upstreams and not secrets:
        return text
    blocks = [f"# {remark}"]
    for name, kept in secrets.items():
        blocks.append(_table(("secrets", name), _said(kept)))
    for name, server in upstreams.items():
        fields = _said(server)
        pins = fields.pop("tools", {})
        blocks.append(_table(("upstreams", name), fields))
        if pins:
            blocks.append(_table(("upstreams", name, "tools"), pins))
    edited = (text.rstrip("\n") + "\n\n" if text.strip() else "") + "\n\n".join(blocks) + "\n"
    wanted = _read(text)
    for section, added in (("secrets", secrets), ("upstreams", upstreams)):
        if added:
            wanted.setdefault(section, {}).update({name: _said(each) for name, each in added.items()})
    return _checked(edited, wanted, "\n\n".join(blocks))


def with_pins(text: str, upstream: str, pins: Mapping[str, str]) -> str:
    """`text` with these pins of one server in the place of those that it has."""
    wanted = _read(text)
    server = wanted.get("upstreams", {}).get(upstream)
    if server is None:
        raise InputError(f"failwell.toml has no [upstreams.{upstream}]")
    was = server.get("tools", {})
    if was == dict(pins):
        return text
    server["tools"] = dict(pins)
    block = _table(("upstreams", upstream, "tools"), dict(pins))
    header = next(
        (each for each in _HEADER.finditer(text) if _names(each.group(), ("upstreams", upstream, "tools"))), None
    )
    if header is not None:
        following = _HEADER.search(text, header.end())
        end = len(text) if following is None else following.start()
        kept = re.search(r"(?:\n[ \t]*(?:#[^\n]*)?)*\Z", text[header.start() : end])
        tail = "" if kept is None else kept.group()
        edited = text[: header.start()] + block + (tail or "\n") + text[end:]
    else:
        line = re.compile(r"^[ \t]*tools[ \t]*=[ \t]*\{[^\n]*\}[ \t]*(?:#[^\n]*)?\n", re.MULTILINE)
        at = next((each for each in _HEADER.finditer(text) if _names(each.group(), ("upstreams", upstream))), None)
        start = len(text) if at is None else at.end()
        following = _HEADER.search(text, start)
        end = len(text) if following is None else following.start()
        edited = text[:start] + line.sub("", text[start:end], count=1) + text[end:].rstrip("\n")
        edited = edited.rstrip("\n") + f"\n\n{block}\n"
    return _checked(edited, wanted, block)


# ---- reading back ----------------------------------------------------------------------------------------------


def _checked(edited: str, wanted: dict[str, Any], block: str) -> str:
    try:
        same = tomllib.loads(edited) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise InputError(
            "failwell.toml is written in a way that cannot be added to without changing what stands there",
            hint=f"Write this into it by hand:\n{block}",
        )
    return edited


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"failwell.toml: {error}", hint="Mend it first.") from error


def _names(header: str, path: tuple[str, ...]) -> bool:
    """Whether a line is the header of exactly this table."""
    try:
        found: Any = tomllib.loads(header)
    except tomllib.TOMLDecodeError:
        return False
    for part in path:
        if not isinstance(found, dict) or list(found) != [part]:
            return False
        found = found[part]
    return not found


def _said(settings: UpstreamSettings | SecretSettings) -> dict[str, Any]:
    """What of settings says more than what is so by itself."""
    plain = type(settings).__struct_fields__
    defaults = dict(zip(plain[::-1], settings.__struct_defaults__[::-1], strict=False))
    said = {name: getattr(settings, name) for name in plain}
    built: dict[str, Any] = msgspec.to_builtins(
        {name: value for name, value in said.items() if name not in defaults or not _is_default(value, defaults[name])}
    )
    return {name: list(value) if isinstance(value, tuple) else value for name, value in built.items()}


def _is_default(value: object, default: object) -> bool:
    return value == default or (not value and callable(getattr(default, "factory", None)))


# ---- writing ---------------------------------------------------------------------------------------------------


def _table(path: tuple[str, ...], fields: Mapping[str, Any]) -> str:
    head = f"[{'.'.join(map(_key, path))}]"
    return "\n".join([head, *(f"{_key(name)} = {_value(value)}" for name, value in fields.items())])


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _string(str(value))


def _string(text: str) -> str:
    """A basic string (TOML 1.0), in which whatever is not seen stands as an escape."""
    return '"' + "".join(_letter(letter) for letter in text) + '"'


def _letter(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter in "\n\t\r" or is_unseen(letter):
        return f"\\U{ord(letter):08x}"
    return letter
