"""`python -m failwell.guard --state DIR --fd N`: the embedded guard, as `remote` starts it on its end of a socket."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from failwell.core.errors import FailwellError
from failwell.guard.process import serve_connection


def main(arguments: list[str]) -> int:
    """Serve until the node is gone. Returns 2 for wrong arguments, 3 where it did not open (the node was told)."""
    match arguments:
        case ["--state", directory, "--fd", number] if number.isdigit():
            connection = socket.socket(fileno=int(number))
        case _:
            sys.stderr.write("usage: python -m failwell.guard --state DIR --fd N; by hand: failwell guard serve\n")
            return 2
    connection.set_inheritable(False)
    try:
        serve_connection(Path(directory), connection)
    except FailwellError:
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
