"""Functions that are registered as tools, and what a decorated one does when it is called inside a run.

The function that comes back has the signature of the one that was given. Called, it does not run here: its arguments
go through the gate, by name. What it does NOT do: judge them. A word too many is the contract's to deny, on record.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from failwell.client.calls import Call, call_of
from failwell.core.errors import InputError
from failwell.execute.function import ORIGINAL, importable

if TYPE_CHECKING:
    from failwell.client.run import Run

F = TypeVar("F", bound=Callable[..., Any])

#: What `call` takes besides the arguments of the tool.
OURS = frozenset({"call_id", "reason", "ticket"})
ON_OBJECT = "Call it on its object."
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)


class Tool:
    """A function registered under a name. `receives`: it is a method, which needs its object and stays with it."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        """Raises InputError for what no call could be made of."""
        if isinstance(function, (staticmethod, classmethod)):
            raise InputError(f"{name}: a method's wrapper is no function", hint="Put @gate.tool below it.")
        if not callable(function):
            raise InputError(f"{name}: {type(function).__name__} cannot be called")
        self.name = name
        self.function = function
        self.streams = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self.awaited = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        try:
            found = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # some builtins do not tell theirs
            found = []
        self.receives = bool(found) and _is_method(function, found[0].name)
        self._own = found[1:] if self.receives else found
        for parameter in self._own:
            if parameter.kind not in _BY_NAME:
                raise InputError(
                    f"{name}: {parameter} has no name that its value could be passed by",
                    hint="Arguments of a tool go by name: no *args, nothing before a /.",
                )

    def importable(self) -> str | None:
        """How a fresh process finds it; None where it must stay in this one."""
        return None if self.receives else importable(self.function)

    def unbound(self) -> Callable[..., Any]:
        """The function for a call by the tool's name; InputError where only its object can make one."""
        if self.receives:
            raise InputError(f"{self.name} is a method: nothing says of which object", hint=ON_OBJECT)
        return self.function

    def taken(self, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Callable[..., Any], Call]:
        """What is to run, and the call, from what the decorated function was called with."""
        function, values = self.function, given
        if self.receives:
            if not given:
                raise InputError(f"{self.name} is a method: nothing says of which object", hint=ON_OBJECT)
            function, values = functools.partial(self.function, given[0]), given[1:]
        names = [each.name for each in self._own if each.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD]
        if len(values) > len(names):
            raise InputError(
                f"{self.name} takes {len(names)} arguments by place, and was given {len(values)}",
                hint="Name the others: they go to the tool by name.",
            )
        placed = dict(zip(names, values, strict=False))
        twice = sorted(placed.keys() & named.keys())
        if twice:
            raise InputError(f"{self.name} was given {twice[0]} twice: by place and by name")
        # A parameter of the tool's own is an argument, also where a call has a word of that name.
        ours = OURS - {each.name for each in self._own}
        said = {word: named.pop(word) for word in ours & named.keys()}
        return function, call_of(self.name, placed, named, **said)


def govern(tool: Tool, current: Callable[[str], Run], function: F) -> F:
    """The function as its callers have it: each call of it is one of the run that `current` gives."""

    def governed(*given: Any, **named: Any) -> Any:
        run = current(tool.name)
        runs, call = tool.taken(given, named)
        if tool.streams:
            return run._streamed_async(call, runs) if tool.awaited else run._streamed(call, runs)
        return run._called(call, runs)

    async def awaited(*given: Any, **named: Any) -> Any:
        run = current(tool.name)
        runs, call = tool.taken(given, named)
        return await run._called_async(call, runs)

    made = functools.wraps(function)(awaited if tool.awaited and not tool.streams else governed)
    setattr(made, ORIGINAL, function)
    return made  # type: ignore[return-value]


def _is_method(function: Callable[..., Any], first: str) -> bool:
    """Whether it stands in a class and takes an object of it."""
    place = getattr(function, "__qualname__", "").rpartition(".")[0]
    return first in ("self", "cls") and bool(place) and not place.endswith("<locals>")
