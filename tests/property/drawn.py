"""Contracts, floors and calls drawn at random, as plain values: what a reference can judge without our code.

An expression is a tuple, its operator first. `yaml_of` and `floor_of` write what was drawn as an owner would.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, NamedTuple

Expr = tuple[Any, ...]
WORDS = ("red", "blue", "green", "Red")
TEXTS = ("", "a", "ab", "b*", "red", "é", "x y")
IDS = ("A-1", "a-1", "c#7", "x.y")
DATES = ("2026-11-17", "2026-11-18", "2026-12-01")
#: Names that a judge might take for its own.
NAMES = ("amount", "who", "colour", "novel", "facts", "args", "day", "tags", "flag", "note", "dryRun", "factsPaid", "X")
REQUESTS = ("absent", "asserted", "verified")
NUMBERS = ("int", "money", "decimal")


class Argument(NamedTuple):
    """`low` and `high` bound a number in major units, a text in characters, a list in values."""

    name: str
    kind: str
    low: int
    high: int
    optional: bool

    @property
    def places(self) -> int:
        return {"money": 2, "decimal": 3}.get(self.kind, 0)

    @property
    def type(self) -> str:
        return {
            "int": f"int({self.low}..{self.high})", "money": f"money(2, {self.low}..{self.high})",
            "decimal": f"decimal(3, {self.low}..{self.high})", "string": f"string({self.low}..{self.high})",
            "enum": f"enum({', '.join(WORDS)})", "list": f"list(id, max {self.high})",
        }.get(self.kind, self.kind)  # fmt: skip


def _argument(rng: Random, name: str) -> Argument:
    kind = rng.choice(("int", "money", "money", "decimal", "string", "id", "enum", "date", "list", "bool", "any"))
    low, high = (0, rng.randint(1, 9)) if kind in ("string", "list") else (rng.choice((0, 0, -5)), rng.randint(1, 30))
    return Argument(name, kind, low, high, rng.random() < 0.3)


#: What a trusted source may be asked for: named as a clause reads it, under `context`.
ASKED = ("facts.paid", "facts.novel", "facts.args")


def tools(rng: Random, *, asking: bool = False) -> list[dict[str, Any]]:
    """The tools there are; where they are `asking`, some want facts of a trusted source."""
    drawn = []
    for name in rng.sample(("pay", "send", "look", "Pay"), rng.randint(1, 4)):
        arguments = [_argument(rng, each) for each in rng.sample(NAMES, rng.randint(1, 4))]
        effect = rng.choice(("read", "irreversible", "irreversible"))
        amounts = [each.name for each in arguments if each.kind == "money" and not each.optional and each.low == 0]
        people = [each.name for each in arguments if each.kind in ("id", "string", "enum")]
        drawn.append(
            {
                "tool": name, "effect": effect, "arguments": arguments,
                "amount": rng.choice(amounts) if amounts else None, "customer": rng.choice(people) if people else None,
                "asked": _asked(rng) if asking and rng.random() < 0.5 else [],
            }
        )  # fmt: skip
    return drawn


def _asked(rng: Random) -> list[Argument]:
    drawn = (_argument(rng, name) for name in rng.sample(ASKED, rng.randint(1, 2)))
    return [each._replace(optional=False) for each in drawn if each.kind != "any"]


# ---- expressions -----------------------------------------------------------------------------------------------------


def number(rng: Random, arguments: list[Argument], depth: int = 2) -> Expr:
    known = [each for each in arguments if each.kind in NUMBERS]
    roll = rng.random()
    if depth and roll < 0.3:
        op = rng.choice("+-")
        return (op, number(rng, arguments, depth - 1), number(rng, arguments, depth - 1))
    if depth and roll < 0.4:
        return ("*", number(rng, arguments, 0), ("int", rng.randint(-3, 9)))
    if known and roll < 0.85:
        return ("arg", rng.choice(known).name)
    return ("int", rng.choice((-1, 0, 1, 5, 100, 500, 2999, 3000)))


def text(rng: Random, arguments: list[Argument]) -> Expr:
    known = [each for each in arguments if each.kind in ("string", "id")]
    if known and rng.random() < 0.7:
        return ("arg", rng.choice(known).name)
    return ("str", rng.choice((*TEXTS, *IDS)))


def truth(rng: Random, arguments: list[Argument], depth: int = 2) -> Expr:
    """One boolean expression over arguments and context, without asking whether an optional one is there."""
    roll = rng.random()
    if depth and roll < 0.35:
        return (rng.choice(("&&", "||")), truth(rng, arguments, depth - 1), truth(rng, arguments, depth - 1))
    if depth and roll < 0.45:
        return ("!", truth(rng, arguments, depth - 1))
    if depth and roll < 0.5:
        return ("if", *(truth(rng, arguments, depth - 1) for _ in range(3)))
    return _leaf(rng, arguments)


def _leaf(rng: Random, arguments: list[Argument]) -> Expr:
    kinds = {each.kind: each.name for each in arguments}
    own = [each.name for each in arguments if "." not in each.name]
    choices: list[Expr] = [
        (rng.choice(("<", "<=", ">", ">=", "==", "!=")), number(rng, arguments), number(rng, arguments)),
        (rng.choice(("==", "!=")), text(rng, arguments), text(rng, arguments)),
        ("==", ("context", rng.choice(("request", "principal"))), ("str", rng.choice(REQUESTS))),
        ("novel", rng.choice([*own, "tool", "target"])),
        ("has", rng.choice(own)) if own else ("novel", "tool"),
    ]
    if "bool" in kinds:
        choices += [("arg", kinds["bool"])] * 2
    if "enum" in kinds:
        choices += [(rng.choice(("==", "!=")), ("arg", kinds["enum"]), ("str", rng.choice(WORDS)))] * 2
    if "string" in kinds:
        choices.append(("like", ("arg", kinds["string"]), rng.choice(("*", "a*", "*b", "a*b", "*é*", "red"))))
    if "list" in kinds:
        choices += [("contains", ("arg", kinds["list"]), ("str", rng.choice(IDS)))] * 2
    if "date" in kinds:
        day = ("day", rng.choice(DATES))
        choices += [(rng.choice(("<", "<=", ">", ">=", "==")), ("arg", kinds["date"]), day)] * 2
    return rng.choice(choices)


def read_by(expr: Expr) -> set[str]:
    """The arguments whose values an expression reads."""
    if expr[0] == "arg":
        return {expr[1]}
    return set().union(*(read_by(part) for part in expr[1:] if isinstance(part, tuple)))


def guarded(expr: Expr, arguments: list[Argument]) -> Expr:
    """The same, asked only where every optional argument that it reads is there."""
    for each in sorted(each.name for each in arguments if each.optional and each.name in read_by(expr)):
        expr = ("&&", ("has", each), expr)
    return expr


def cedar(expr: Expr) -> str:
    """The expression as Cedar text."""
    op, *rest = expr
    if op in ("arg", "has"):
        place = "context" if rest[0] in ASKED else "context.args"
        return f"{place}.{rest[0]}" if op == "arg" else f"({place} has {rest[0]})"
    if op == "int":
        return str(rest[0]) if rest[0] >= 0 else f"({rest[0]})"
    if op == "str":
        return json.dumps(rest[0], ensure_ascii=False)
    if op in ("context", "novel", "day"):
        return {
            "context": f"context.{rest[0]}", "novel": f'context.novel.contains("{rest[0]}")',
            "day": f'datetime("{rest[0]}")',
        }[op]  # fmt: skip
    if op == "!":
        return f"(!{cedar(rest[0])})"
    if op == "if":
        return "(if {} then {} else {})".format(*map(cedar, rest))
    if op == "like":
        return f"({cedar(rest[0])} like {json.dumps(rest[1], ensure_ascii=False)})"
    if op == "contains":
        return f"({cedar(rest[0])}.contains({cedar(rest[1])}))"
    return f"({cedar(rest[0])} {op} {cedar(rest[1])})"


# ---- contracts -------------------------------------------------------------------------------------------------------


def clauses(rng: Random, known: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    drawn = []
    for place in range(rng.randint(0, most)):
        about = rng.choice(known)
        arguments = [each for each in about["arguments"] if each.kind != "any"] + about["asked"]
        when = guarded(truth(rng, arguments), arguments) if arguments else None
        drawn.append(
            {
                "id": f"c{place}", "then": rng.choice(("deny", "escalate")), "tools": [about["tool"]],
                "when": None if rng.random() < 0.05 else when,
            }
        )  # fmt: skip
    return drawn


def limits(rng: Random, known: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    drawn = [_limit(rng, known, f"l{place}") for place in range(rng.randint(most // 2, most))]
    return [each for each in drawn if each is not None]


def _limit(rng: Random, known: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    kind = rng.choice(("count", "sum", "sum", "rate", "concurrent", "cooldown", "once_per", "sequence", "blast"))
    about = rng.sample(known, rng.randint(1, len(known)) if kind == "count" else 1)
    limit: dict[str, Any] = {
        "id": name, "kind": kind, "tools": [tool["tool"] for tool in about], "at_most": rng.randint(1, 4), "per": None,
        "then": rng.choice(("deny", "escalate", "record", "record")), "keys": [], "sums": None, "needs": None,
        "each": [],
    }  # fmt: skip
    if kind in ("once_per", "cooldown", "sequence"):
        limit["at_most"] = 1
    if kind not in ("concurrent", "sequence"):
        limit["per"] = rng.choice((1, 5, 60) if kind in ("rate", "cooldown") else (None, 1, 5, 60))
    about = _special(rng, known, about, limit)
    if not about:
        return None
    _apart(rng, about, limit)
    return None if kind == "once_per" and not limit["keys"] else limit


def _special(rng: Random, known: list[Any], about: list[Any], limit: dict[str, Any]) -> list[dict[str, Any]]:
    """What sums, sequences and budgets say besides; the tools that the limit is measured for, none if it cannot be."""
    if limit["kind"] == "sequence":
        others = [tool for tool in known if tool is not about[0]]
        if not others:
            return []
        limit["needs"] = rng.choice(others)["tool"]
        return [about[0], *(tool for tool in others if tool["tool"] == limit["needs"])]
    if limit["kind"] == "sum":
        numbers = [each for each in about[0]["arguments"] if each.kind in NUMBERS and each.low == 0]
        always = [each for each in numbers if not each.optional]
        if not always:
            return []
        added = rng.choice(always)
        limit["sums"], limit["at_most"] = added.name, 10**added.places * added.high * rng.randint(1, 4) // 2 or 1
    if limit["kind"] == "blast":
        about = [tool for tool in known if tool["effect"] == "irreversible"]
        limit["tools"] = []
        if all(tool["amount"] for tool in about) and rng.random() < 0.6:
            limit["sums"], limit["at_most"] = "amount", rng.choice((1500, 4000))
    return about


def _apart(rng: Random, about: list[dict[str, Any]], limit: dict[str, Any]) -> None:
    """What a limit is kept apart for."""
    shared = set.intersection(*({each.name for each in tool["arguments"] if each.kind != "any"} for tool in about))
    each_of = ["principal", "run", *(["subject"] if all(tool["customer"] for tool in about) else [])]
    if limit["kind"] != "sequence" and rng.random() < 0.3:
        limit["each"] = [rng.choice(each_of)]
    if shared and limit["kind"] != "blast" and (limit["kind"] == "once_per" or rng.random() < 0.3):
        limit["keys"] = [rng.choice(sorted(shared))]


def contract(rng: Random, agent: str, known: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A contract of `agent` over some of the tools."""
    listed = rng.sample(known, max(1, len(known) - (rng.random() < 0.25)))
    return {
        "agent": agent, "version": 1, "tools": listed, "clauses": clauses(rng, listed, 4),
        "limits": limits(rng, listed, 5),
        "principals": [] if rng.random() < 0.85 else rng.choice((["customer"], ["customer:1", "clerk"])),
        "until": None, "delegates": [], "irreversible": rng.choice(("escalate", "deny", "allow", "allow")),
        "halves": rng.random() < 0.7, **more,
    }  # fmt: skip


def source_of(fact: str) -> str:
    """The source that is asked for a fact."""
    return f"books.{fact}"


def _flow(fields: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in fields.items() if value is not None) + "}"


def _words(words: list[str]) -> str | None:
    return f"[{', '.join(words)}]" if words else None


def _limit_text(limit: dict[str, Any]) -> str:
    kind, named = limit["kind"], _words(limit["tools"])
    if kind == "sum":
        named = f"{limit['tools'][0]}.{limit['sums']}"
    elif kind == "blast":
        named = limit["sums"] or "actions"
    at_most = limit["at_most"] if kind in ("count", "sum", "rate", "concurrent", "blast") else None
    return _flow(
        {
            "id": limit["id"], kind: named, "after": limit["needs"], "at_most": at_most,
            "per": None if limit["per"] is None else f"{limit['per']}m", "keys": _words(limit["keys"]),
            "each": _words(limit["each"]), "then": limit["then"],
        }
    )  # fmt: skip


def rules_text(drawn: dict[str, Any]) -> str:
    """The clauses, limits and what restriction means, of a contract or a floor."""
    said = [f"restricted: {{irreversible: {drawn['irreversible']}, limits: {'half' if drawn['halves'] else 'same'}}}"]
    if drawn["clauses"]:
        said.append("clauses:")
    for clause in drawn["clauses"]:
        said.append(f"  - id: {clause['id']}\n    {clause['then']}: {_words(clause['tools'])}")
        if clause["when"] is not None:
            said.append(f"    when: |-\n      {cedar(clause['when'])}")
    if drawn["limits"]:
        said.append("limits:")
    said += [f"  - {_limit_text(limit)}" for limit in drawn["limits"]]
    return "\n".join(said) + "\n"


def yaml_of(drawn: dict[str, Any]) -> str:
    """The contract as its owner would write it."""
    name = drawn["agent"].rpartition("/")[2]
    said = [
        f"contract: {name}", f"version: {drawn['version']}", f"agent: {drawn['agent']}", "owner: olga",
        "purpose: Whatever was drawn.", "tools:",
    ]  # fmt: skip
    for tool in drawn["tools"]:
        said += [f"  - tool: {tool['tool']}", f"    effect: {tool['effect']}", "    custody: none", "    arguments:"]
        said += [f'      {each.name}{"?" if each.optional else ""}: "{each.type}"' for each in tool["arguments"]]
        if tool["asked"]:
            said.append("    facts:")
        for each in tool["asked"]:
            short = each.name.partition(".")[2]
            said.append(f'      {short}: {{lookup: {source_of(short)}, with: [], type: "{each.type}"}}')
        affects = {"customer": tool["customer"], "amount": tool["amount"]}
        if any(affects.values()):
            said.append(f"    affects: {_flow(affects)}")
    for field in ("principals", "delegates"):
        if drawn[field]:
            said.append(f"{field}: [{', '.join(json.dumps(word) for word in drawn[field])}]")
    if drawn["until"]:
        said.append(f"valid: {{until: {drawn['until']}}}")
    # What is drawn asks for what is not listed all the time: that alone is not to stop the agent.
    quiet = ("tool.unlisted", "principal", "arguments")
    said += ["response:", *(f'  - {{signal: "denied({each})", do: [record]}}' for each in quiet)]
    return "\n".join(said) + "\n" + rules_text(drawn)


# ---- calls -----------------------------------------------------------------------------------------------------------


def _right(rng: Random, of: Argument) -> Any:
    if of.kind in NUMBERS:
        unit = 10**of.places
        scaled = rng.choice((of.low * unit, of.high * unit, rng.randint(of.low * unit, of.high * unit)))
        whole, rest = divmod(abs(scaled), unit)
        written = f"{'-' if scaled < 0 else ''}{whole}" + (f".{rest:0{of.places}d}" if of.places else "")
        return written if of.kind != "int" and rng.random() < 0.3 else json.loads(written)
    if of.kind == "list":
        return [rng.choice(IDS) for _ in range(rng.randint(0, of.high))]
    choices: dict[str, tuple[Any, ...]] = {
        "string": tuple(each for each in TEXTS if of.low <= len(each) <= of.high), "id": IDS, "enum": WORDS,
        "date": DATES, "bool": (True, False), "any": (None, 1, {"a": [1]}),
    }  # fmt: skip
    return rng.choice(choices[of.kind])


#: What is of no declared type, or nearly of one.
ODD: tuple[Any, ...] = (
    None, True, 0, -6, 31, 10**30, 0.001, 1.5, 1e300, "1e2", "0x1", "", "NaN", "1.005", "01", "+1", "٣", "R\u0435d",
    "RED", [], ["A-1", ""], {"$ref": 1}, "2026-02-30", "x" * 40, "a\u0000",
)  # fmt: skip


def answers(rng: Random, asked: list[Argument]) -> dict[str, tuple[str, Any]]:
    """How the sources answer, by fact: (state, value); sometimes not at all, or what is of another type."""
    states = ("answered",) * 30 + ("late", "failed", "wrong")
    return {
        each.name: (rng.choice(states), rng.choice(ODD) if rng.random() < 0.04 else _right(rng, each))
        for each in asked
        if rng.random() < 0.99
    }


def call(rng: Random, known: list[dict[str, Any]]) -> tuple[str, bytes]:
    """A tool and the text of its arguments: mostly as declared, or nearly so."""
    tool = rng.choice(known)
    given: dict[str, Any] = {}
    for each in tool["arguments"]:
        if each.optional and rng.random() < 0.4:
            if rng.random() < 0.3:
                given[each.name] = None
            continue
        given[each.name] = rng.choice(ODD) if rng.random() < 0.04 else _right(rng, each)
    roll = rng.random()
    if roll < 0.02:
        given[rng.choice(("novel", "facts", "extra", "constructor"))] = rng.choice(ODD)
    elif roll < 0.04 and given:
        given.pop(rng.choice(sorted(given)))
    written = json.dumps(given, ensure_ascii=rng.random() < 0.5).encode()
    if roll > 0.98:
        written = rng.choice((written[:-1], b"[]", b'{"amount": 1, "amount": 2}', b'{"amount": NaN}', b"\xff", b""))
    return (rng.choice((tool["tool"].upper(), f"{tool['tool']} ")) if 0.04 < roll < 0.05 else tool["tool"]), written


def floor(rng: Random, known: list[dict[str, Any]], version: int) -> dict[str, Any]:
    """What every contract is to stand on, over tools that it may or may not list."""
    names = [tool["tool"] for tool in known]
    free = [("==", ("context", "request"), ("str", rng.choice(REQUESTS))), ("novel", "tool"), None]
    wide = {"id": "wide", "then": "escalate", "tools": [rng.choice(("p*", "*", "P*"))], "when": rng.choice(free)}
    return {
        "floor": "house-floor", "version": version, "never": rng.sample(names, 1) if rng.random() < 0.15 else [],
        "clauses": [*clauses(rng, known, 1), *([wide] if rng.random() < 0.3 else [])], "limits": limits(rng, known, 2),
        "irreversible": rng.choice(("allow", "allow", "escalate", "deny")), "halves": rng.random() < 0.3,
    }  # fmt: skip


def floor_of(drawn: dict[str, Any]) -> str:
    """The floor as its owner would write it."""
    head = f"floor: {drawn['floor']}\nversion: {drawn['version']}\nscope: organisation\npurpose: Whatever was drawn.\n"
    never = f"never: {_words(drawn['never'])}\n" if drawn["never"] else ""
    return head + never + rules_text(drawn)
