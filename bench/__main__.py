"""`python -m bench [NAME ...] [--json]`: every figure beside what it is held against, in one table.

Exit 1 when a figure misses its bound. A figure whose condition is not given here (a quiet disk) says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from bench import (
    appends,
    crowded,
    decisions,
    evaluation,
    gateway,
    http,
    incidents,
    orders,
    probe,
    reopen,
    stopping,
    telling,
    verifying,
)

FIGURES: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "evaluation": ("1,000 clauses over 100 tools: p50 of judging <= 1.3 x 100 over 100", evaluation.by_clauses),
    "peer": ("judging in memory: p50 <= a governed call of AGT in the same run", evaluation.judged),
    "peer-record": ("a decision on record in memory: p50 <= a governed call of AGT", evaluation.decided),
    "one-caller": ("durable decision, one caller: p50 <= 2 fdatasync + 0.6 ms", decisions.one_caller),
    "many-callers": ("64 callers: >= 6,000 decisions/s on a quiet disk", decisions.many_callers),
    "slow-disk": ("5 ms a sync: 64 callers >= 20 x one caller", decisions.slow),
    "order": ("order behind 10,000 queued actions: p50 <= 2 fdatasync + 15 ms", orders.order_behind_queue),
    "incidents": (
        "100 incidents open together behind 10,000 queued actions: order p50 <= 2 fdatasync + 15 ms, none passed by",
        incidents.at_once,
    ),
    "append-one": ("durable entry, one caller: p50 <= 2 fdatasync + 0.4 ms", appends.one_caller),
    "append-many": ("64 callers: >= 15,000 entries/s on a quiet disk", appends.many_callers),
    "append-slow": ("5 ms a sync: 64 callers >= 25 x one entry per transaction", appends.slow),
    "million": ("append to 1,000,000 entries: within 10 %; then a proof p99 < 1 ms", appends.million),
    "verify": ("ledger verify: core >= 100,000 entries/s, everything beside it", verifying.whole),
    "alone-full": ("verify.pyz on bare Python: >= 40,000 entries/s", verifying.full),
    "alone-hashes": ("verify.pyz --hash-only: >= 300,000 entries/s", verifying.hash_only),
    "reopen": ("100,000 entries are open again within 1 s", reopen.reopen),
    "start-cold": ("what a supervisor adds to the start of a tool: p50 <= 40 ms", stopping.started_cold),
    "start-warm": ("the same where supervisors stand by: p50 <= 3 ms", stopping.started_warm),
    "stop": ("order -> last process gone, by pidfds and on record: p99 < 50 ms", stopping.stopped),
    "stop-peers": ("the same family stopped by us and by the peers' kill switches", stopping.beside_peers),
    "telling": (
        "order -> last process gone beside ways to people that hang, drip, fail: p50 <= 1.1 x beside ways that work",
        telling.contained,
    ),
    "gateway": (
        "a call through the gateway, over the same proxy without a gate: <= 2.5 ms + 2 fdatasync",
        gateway.one_session,
    ),
    "gateway-sessions": ("200 sessions at once: >= half the calls a second of that proxy", gateway.many_sessions),
    "http": ("HTTP decide over the same server's echo: p50 <= 1 ms + 1 fdatasync", http.decided),
    "http-stop": ("an order over HTTP among 1,000 callers: p90 <= 50 ms on a machine with room", crowded.stopped_among),
    "flat": ("append to 300,000 entries over 1,000 agents: within 10 %", decisions.flat),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *FIGURES], default=[])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    about = probe.machine()
    print(" ".join(f"{name} {value}" for name, value in about.items()), file=sys.stderr)
    found: dict[str, Any] = {}
    for name in given.names or FIGURES:
        title, measure = FIGURES[name]
        print(f"{name}: {title} ...", file=sys.stderr, flush=True)
        found[name] = {"title": title, **measure()}
        if not given.json:
            print(_line(name, found[name]), flush=True)
    if given.json:
        print(json.dumps({"schema": "failwell/bench/1", "machine": about, "figures": found}))
    return 1 if any(figure["held"] is False for figure in found.values()) else 0


def _line(name: str, figure: dict[str, Any]) -> str:
    held = {True: "held", False: "MISSED", None: "not comparable here"}[figure["held"]]
    told = [
        f"{key} {value:,.2f}" if isinstance(value, float) else f"{key} {value}"
        for key, value in figure.items()
        if key not in ("title", "held", "rates", "table")
    ]
    return "\n".join([f"{name:14} {held:8} {'  '.join(told)}", *map(_row, figure.get("table", ()))])


def _row(row: dict[str, Any]) -> str:
    """One line of a figure that is a table: who and how first, then what was found."""
    told = [
        f"{key} {value:,.1f}" if isinstance(value, float) else f"{key}: {', '.join(value) or '-'}"
        if isinstance(value, list) else f"{key}: {value}"
        for key, value in row.items() if key not in ("peer", "way")
    ]  # fmt: skip
    return f"  {row['peer']} | {row['way']} | {' | '.join(told)}"


if __name__ == "__main__":
    sys.exit(main())
