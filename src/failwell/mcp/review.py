"""What a person should look at in the definitions of tool servers before accepting them: text that is not seen, names
that look alike, words that are spoken to the model, schemas that say odd things.

It finds what is known to be tried and calls nothing safe: a definition without findings is still a stranger's text.
Nothing is decided here; what is accepted is what a person pins (`mcp.definitions`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from failwell.core.unseen import is_unseen, visible

What = Literal["hidden", "look-alike", "same-name", "instruction", "schema", "claim"]

#: Whoever reads a definition with one of these may see another than the model does: not to be accepted unread.
MISLEADING: frozenset[What] = frozenset({"hidden", "look-alike"})

#: Longer than this, a description is where something can be put that nobody reads.
LONG_DESCRIPTION = 4_000
_QUOTED = 90

#: Words by which a definition speaks to the model rather than about the tool.
_INSTRUCTIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|prior|above|earlier|other|all|your)\b",
        r"\b(?:do not|don't|never)\b.{0,30}\b(?:tell|mention|inform|reveal|show|ask|notify)\b",
        r"\b(?:system prompt|developer message|<\s*/?\s*(?:important|system|instructions?|secret)\b)",
        r"\byou (?:must|should always|are required|have to|were (?:told|advised|instructed)|are now)\b",
        r"\bbefore (?:using|calling|you (?:use|call)) (?:this|any|other|another)\b",
        r"\b(?:instead of|rather than) (?:using )?(?:the )?(?:other|another|any)\b.{0,20}\btool",
        r"\b(?:this tool )?now grants you\b",
        r"(?:~/\.ssh|id_rsa|\.aws/credentials|\.env\b|/etc/passwd|api[ _-]?keys?\b.{0,30}\b(?:pass|send|include|read))",
        r"\b(?:pass|send|include|append|put)\b.{0,40}\b(?:conversation|chat history|full context|previous messages)\b",
    )
)
_CHANGING = re.compile(
    r"(?:^|[_-])(?:write|delete|remove|update|create|send|post|put|insert|drop|move|rename|edit|execute|exec|run|commit|"
    r"push|pay|refund|transfer|kill|reset|checkout|add|set)(?:$|[_-])"
)
_LOOKS_LIKE = str.maketrans({"0": "o", "1": "l", "I": "l", "|": "l", "5": "s", "-": "_"})


class Remark(NamedTuple):
    """One thing to look at. `where` is a place in the definition; `quote` is shown with nothing hidden in it."""

    server: str
    tool: str
    what: What
    where: str
    why: str
    quote: str = ""


def review(servers: Mapping[str, Iterable[Mapping[str, Any]]]) -> tuple[Remark, ...]:
    """All remarks on the definitions of tools by server."""
    found: list[Remark] = []
    listed = {server: tuple(definitions) for server, definitions in servers.items()}
    for server, definitions in listed.items():
        for definition in definitions:
            found += _definition(server, definition)
    return (*found, *_look_alikes(listed))


# ---- one definition --------------------------------------------------------------------------------------------


def _definition(server: str, definition: Mapping[str, Any]) -> Iterator[Remark]:
    name = str(definition.get("name", ""))

    def remark(what: What, where: str, why: str, quote: str = "") -> Remark:
        return Remark(server, visible(name, 128), what, where, why, visible(quote, _QUOTED))

    for where, text in _texts(definition):
        if places := _unseen(text):
            named = ", ".join(_name(letter) for letter in sorted({text[at] for at in places})[:3])
            why = f"has {len(places)} letters that nobody sees ({named})"
            yield remark("hidden", where, why, text[max(0, places[0] - 30) : places[0] + 60])
        # As the model reads it: letters that are not seen may stand in the middle of a word.
        plain = " ".join("".join(letter for letter in text if not is_unseen(letter)).split())
        spoken = next((match for pattern in _INSTRUCTIONS if (match := pattern.search(plain))), None)
        if spoken is not None:
            quote = plain[max(0, spoken.start() - 20) : spoken.end() + 50]
            yield remark("instruction", where, "speaks to the model", quote)
        if len(text) > LONG_DESCRIPTION:
            yield remark("instruction", where, f"has {len(text):,} characters: read all of it", text)
    annotations = definition.get("annotations")
    claims: Mapping[str, Any] = annotations if isinstance(annotations, Mapping) else {}
    if claims.get("readOnlyHint") is True:
        if claims.get("destructiveHint") is True:
            yield remark("claim", "annotations", "claims both that it only reads and that it destroys")
        if _CHANGING.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()):
            yield remark("claim", "annotations", "claims that it only reads, and is named as if it changed something")
    for where, why in _oddities(definition.get("inputSchema")):
        yield remark("schema", where, why)


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text of a definition with its place, names of members too."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        where, each = waiting.pop()
        if isinstance(each, str):
            yield visible(where, 120), each
        elif isinstance(each, Mapping):
            for key, below in each.items():
                place = f"{where}.{key}" if where else str(key)
                if any(map(is_unseen, str(key))):
                    yield visible(place, 120), str(key)
                waiting.append((place, below))
        elif isinstance(each, list | tuple):
            waiting += [(f"{where}[{number}]", below) for number, below in enumerate(each)]


def _unseen(text: str) -> list[int]:
    """Where letters stand that nobody sees. What makes one picture of several signs is seen: the picture."""
    if text.isascii() and text.isprintable():
        return []
    found = []
    for at, letter in enumerate(text):
        if is_unseen(letter):
            before, after = text[at - 1 : at], text[at + 1 : at + 2]
            chosen = letter == "\ufe0f" and unicodedata.category(before or " ") in ("So", "Sm", "Sk")
            joins = before == "\ufe0f" or unicodedata.category(before or " ") == "So"
            joined = letter == "\u200d" and joins and unicodedata.category(after or " ") == "So"
            if not (chosen or joined):
                found.append(at)
    return found


def _oddities(schema: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(schema, Mapping):
        return
    if schema.get("type") != "object":
        yield "inputSchema", "is no schema of an object, so it says nothing of arguments"
    declared = schema.get("properties")
    properties: Mapping[str, Any] = declared if isinstance(declared, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in properties:
            yield "inputSchema.required", f"asks for {visible(str(name), 60)}, which it does not describe"
    for word in ("anyOf", "oneOf", "allOf", "not", "if", "patternProperties", "dependentSchemas"):
        if word in schema:
            yield f"inputSchema.{word}", "says more of its arguments than a contract's types can"
    for where, reference in _references(schema):
        yield where, f"refers to {visible(reference, 100)}, which whoever reads it may fetch"


def _references(schema: Any) -> Iterator[tuple[str, str]]:
    """References to anything but the schema itself."""
    waiting: list[tuple[str, Any]] = [("inputSchema", schema)]
    while waiting:
        where, each = waiting.pop()
        if isinstance(each, Mapping):
            reference = each.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                yield visible(where, 120), reference
            waiting += [(f"{where}.{key}", below) for key, below in each.items()]
        elif isinstance(each, list | tuple):
            waiting += [(f"{where}[{number}]", below) for number, below in enumerate(each)]


# ---- names beside each other -----------------------------------------------------------------------------------


def _look_alikes(listed: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[Remark]:
    seen: dict[str, tuple[str, str]] = {}
    for server, definitions in listed.items():
        for definition in definitions:
            name = str(definition.get("name", ""))
            if not name.isascii():
                yield Remark(server, visible(name, 128), "look-alike", "name", "has letters beyond ASCII")
            before = seen.setdefault(_skeleton(name), (server, name))
            if before == (server, name):
                if definition is not next(each for each in definitions if each.get("name") == name):
                    yield Remark(
                        server, visible(name, 128), "look-alike", "name", "is offered twice by the same server"
                    )
                continue
            other = f"{before[0]}.{visible(before[1], 128)}"
            if before[1] == name:
                yield Remark(server, visible(name, 128), "same-name", "name", f"has the same name as {other}")
            else:
                yield Remark(server, visible(name, 128), "look-alike", "name", f"looks like {other}")


def _skeleton(name: str) -> str:
    """What a name looks like at a glance: letters that are taken for each other are one letter."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    plain = "".join(_CONFUSED.get(letter, letter) for letter in plain if not is_unseen(letter))
    return plain.translate(_LOOKS_LIKE).casefold().replace("rn", "m").replace("vv", "w")


#: Cyrillic and Greek letters that are drawn as Latin ones (Unicode TR 39, the ones in use).
_CONFUSED = dict(
    zip("авеіјкмнорсԁѕтухһАВЕІЈКМНОРСЅТХΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρι",
        "abeijkmhopcdstyxhABEIJKMHOPCSTXABEZHIKMNOPTYXoavpi", strict=True)
)  # fmt: skip


def _name(letter: str) -> str:
    return f"U+{ord(letter):04X} {unicodedata.name(letter, 'without a name').lower()}"
