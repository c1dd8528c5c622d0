"""The one tree of errors. A verdict is a value, never an exception.

    FailwellError
    ├── InputError            what was given is malformed (a person can mend it)        code "input"
    │   └── ContractError     a contract that must not be adopted, with its findings     code "contract"
    ├── NotFound              a named thing does not exist                               code "not-found"
    ├── Refused               an order or request that this person or agent may not make code "refused"
    ├── Unhealthy             a part of Failwell is not able to permit                   code "unhealthy"
    ├── Unreachable           the node or another process did not answer                 code "unreachable"
    └── Corrupt               stored evidence does not hold together                     code "corrupt"

Every error says what happened (`message`), and where it can, what a person should do next (`hint`).
"""

from __future__ import annotations


class FailwellError(Exception):
    """Root of all errors that Failwell raises on purpose."""

    code = "failed"

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class InputError(FailwellError):
    code = "input"


class ContractError(InputError):
    code = "contract"


class NotFound(FailwellError):
    code = "not-found"


class Refused(FailwellError):
    code = "refused"


class Unhealthy(FailwellError):
    code = "unhealthy"


class Unreachable(FailwellError):
    code = "unreachable"


class Corrupt(FailwellError):
    code = "corrupt"
