"""A note on the screen of who is logged in, by notify-send(1) (freedesktop.org Desktop Notifications)."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

from failwell.core.instants import format_at
from failwell.notify.message import clean_line
from failwell.notify.terminal import lines_of
from failwell.ports.clock import Clock
from failwell.ports.notifier import Message, NotifyFailed, Receipt

PROGRAM: Final = "notify-send"


class Desktop:
    """The screen of the user that the node runs as."""

    provider = "this machine's screen"

    def __init__(self, clock: Clock, deadline_s: float) -> None:
        self._clock = clock
        self._deadline_s = deadline_s

    def tell(self, message: Message) -> Receipt:
        """Show it; NotifyFailed where there is no screen, or it does not answer."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise NotifyFailed(
                f"{PROGRAM} is not on this machine", temporary=False, hint="On Debian: apt-get install libnotify-bin"
            )
        first, *more = [clean_line(line, 200) for line in lines_of(message)]
        urgency = "critical" if message.severity != "minor" and message.action == "trigger" else "normal"
        command = [program, "--app-name=Failwell", f"--urgency={urgency}", "--", first, _plain("\n".join(more))]
        kept = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY", "HOME", "PATH")
        surroundings = {name: os.environ[name] for name in kept if name in os.environ}
        try:
            subprocess.run(
                command, env=surroundings, timeout=self._deadline_s, check=True, stdin=subprocess.DEVNULL,
                capture_output=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or b""
            reason = clean_line(said.decode("utf-8", "replace") or str(error), 200)
            raise NotifyFailed(f"the screen did not take it: {reason}", temporary=True) from error
        return Receipt(accepted=True, detail="shown", at=format_at(self._clock.wall_us()))


def _plain(body: str) -> str:
    """Without markup: notification servers read a subset of HTML in the body, and none in the line above it.

    Attack: notify-send makes \\74 in the body into <, and so what was text into markup.
    """
    return body.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
