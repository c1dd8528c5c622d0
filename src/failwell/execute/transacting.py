"""A tool whose work is one transaction, and which does not end: killed half-way, it must leave nothing.

Used by the self-test. Run as `python -I -S transacting.py DATABASE ACTION STANDING [whole]`: it writes into the table
`work` under the mark of ACTION, makes the empty file STANDING, and waits at most a minute; with `whole` it comes to its
end, so that what a committed transaction looks like is shown too. Standard library only.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from failwell.execute.transaction import transaction
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # last: nothing of ours shadows the library
    from transaction import transaction

LIFETIME_S = 60
#: More than SQLite keeps in memory: what is half done lies in the file.
ROWS, ROW_BYTES = 600, 8192


def main(database: str, action: str, standing: str, whole: bool) -> None:
    """Write, say so, and wait to be killed."""
    with transaction(database, action) as connection:
        connection.execute("PRAGMA cache_size = 10")
        rows = ((action, bytes(ROW_BYTES)) for _ in range(ROWS))
        connection.executemany("INSERT INTO work (action, body) VALUES (?, ?)", rows)
        with open(standing, "xb"):
            pass
        if not whole:
            time.sleep(LIFETIME_S)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:] == ["whole"])
