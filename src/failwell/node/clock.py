"""The machine's clocks (`ports.clock`)."""

from __future__ import annotations

import time
from pathlib import Path


class SystemClock:
    """Boot id and CLOCK_BOOTTIME of this kernel; wall time as the machine believes it."""

    def __init__(self) -> None:
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")

    def boot(self) -> str:
        return self._boot

    def mono_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000

    def wall_us(self) -> int:
        return time.time_ns() // 1000
