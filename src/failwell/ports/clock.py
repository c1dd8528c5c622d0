"""The clocks that ledger time is made from (D7)."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    def boot(self) -> str:
        """Which boot of which machine the monotonic clock belongs to: 32 hex digits."""
        ...

    def mono_us(self) -> int:
        """Microseconds since that boot, suspend included (CLOCK_BOOTTIME)."""
        ...

    def wall_us(self) -> int:
        """Microseconds since the Unix epoch, as the machine believes."""
        ...
