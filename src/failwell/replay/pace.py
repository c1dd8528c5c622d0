"""The declared pace of a backtest: how much ledger time lies between recorded calls and between recorded
runs.

Recordings carry no times, so none is made up: the pace is declared, stands in the ledger's `config` entry,
and is the same however fast the machine is. The n-th call of a run is proposed `n * call_every` after the
run began, its result comes at the same instant (how long a tool took is not known), and the next run begins
`run_every` after the last call. With `run_every` at the longest window of a contract's limits, runs do not
use up each other's limits.

`PacedClock` is `ports.clock.Clock` on that time (D7). It stands still until it is moved; a resumed backtest
moves it to the same instants again, so that the ledger's times do not depend on where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from failwell.core.contract import Contract
from failwell.core.errors import InputError
from failwell.core.instants import format_at, parse_at

#: The boot that all paced clocks belong to: "recorded" in hex, which no machine's random boot id looks like.
BOOT = b"recorded".hex().ljust(32, "0")

#: Where ledger time starts if no contract says from when it is valid.
UNBOUND_START_US = parse_at("2026-01-01T00:00:00.000000Z")


@dataclass(frozen=True, slots=True)
class Pace:
    """Microseconds of ledger time from call to call, and from the last call of a run to the next run."""

    call_every_us: int
    run_every_us: int

    def call_us(self, began_us: int, ordinal: int) -> int:
        """When call `ordinal` (from 1) of a run that began at `began_us` is proposed."""
        return began_us + ordinal * self.call_every_us

    def next_us(self, began_us: int, calls: int) -> int:
        """When the run after one that began at `began_us` and has `calls` calls begins."""
        return self.call_us(began_us, calls) + self.run_every_us


class PacedClock:
    """A clock that shows `start_us` (since the epoch) plus what it was moved by, and moves only when told."""

    def __init__(self, start_us: int) -> None:
        self._start_us = start_us
        self._passed_us = 0

    def boot(self) -> str:
        return BOOT

    def mono_us(self) -> int:
        return self._passed_us

    def wall_us(self) -> int:
        return self._start_us + self._passed_us

    def move(self, passed_us: int) -> None:
        """Show `passed_us` microseconds since the start. Called between jobs of the ledger's writer only."""
        self._passed_us = passed_us


def start_us(contracts: Sequence[Contract]) -> int:
    """Return the first instant at which all `contracts` are in force, in microseconds since the epoch."""
    days = [contract.valid.since for contract in contracts if contract.valid is not None and contract.valid.since]
    return max(map(_day_us, days), default=UNBOUND_START_US)


def check_room(contracts: Sequence[Contract], began_us: int, end_us: int) -> None:
    """Raise InputError unless all `contracts` stay in force from `began_us` to `end_us` (since the epoch).

    Else late runs would be denied for the date alone, and read as findings about the contract.
    """
    ends = [(c.valid.until, c) for c in contracts if c.valid is not None and c.valid.until is not None]
    for until, contract in sorted(ends, key=lambda item: item[0]):
        if end_us < _day_us(until):
            continue
        if began_us >= _day_us(until):
            raise InputError(
                f"contract {contract.contract} is valid until {until}, before another one begins",
                hint="Backtest contracts that were never in force together into different ledgers.",
            )
        raise InputError(
            f"at this pace the runs last until {format_at(end_us)[:10]}, "
            f"but contract {contract.contract} is valid until {until}",
            hint="Shorten --run-every or --call-every, or give fewer traces.",
        )


def _day_us(day: str) -> int:
    return parse_at(f"{day}T00:00:00.000000Z")
