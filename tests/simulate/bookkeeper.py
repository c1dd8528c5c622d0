"""A transactional tool: inserts rows into `work` within its one transaction, slowly, and says in its own log how far.

Run as `python bookkeeper.py LOG`; arguments as `tests.simulate.tool` takes them. For customer `cheat` it inserts
without its mark, and commits by itself.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time

from failwell.execute.transaction import transaction
from tests.simulate.tool import note


def main(log: str) -> None:
    arguments = json.load(sys.stdin)
    customer, action = arguments["customer"], os.environ["FAILWELL_ACTION"]
    if customer == "cheat":
        with sqlite3.connect(os.environ["FAILWELL_TRANSACTION"]) as own:
            own.execute("INSERT INTO work VALUES (?, 'cheated')", (action,))
        own.close()
        note(log, "began", customer=customer)
    else:
        with transaction() as connection:
            connection.execute("INSERT INTO work VALUES (?, 'x')", (action,))
            note(log, "began", customer=customer)
            time.sleep(arguments.get("millis", 0) / 1000)
    if customer == "lingers":
        note(log, "committed")
        time.sleep(60)
    print(json.dumps({"wrote": customer}))


if __name__ == "__main__":
    main(sys.argv[1])
