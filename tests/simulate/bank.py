"""The bank's own book as a trusted source: run as a command, it says whether a refund was right.

`orders.json` in the directory that its argument names holds what each order was: who paid it, and how much in cents.
"""

from __future__ import annotations

import json
import os
import sys


def main(place: str) -> None:
    asked = json.load(sys.stdin)
    with open(os.path.join(place, "orders.json")) as file:
        order = json.load(file)[asked["order"]]
    right = order["customer"] == asked["customer"] and asked["amount"] <= order["paid"]
    print(json.dumps(right))


if __name__ == "__main__":
    main(sys.argv[1])
