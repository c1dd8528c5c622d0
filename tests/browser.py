"""A real browser that shows what people are sent: Chromium, spoken to over a pipe (Chrome DevTools Protocol).

`CHROMIUM` is None where there is none: tests skip then, in one clear line.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITHOUT = "needs a browser: apt-get install chromium"
DEADLINE_S = 30.0
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip


class Tab:
    """One page. `asked` are the addresses that it had loaded, the page's own among them; `said` its console's lines."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.asked: list[str] = []
        self.said: list[str] = []
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **given)

    def look(self, *, width: int = 800, height: int = 900, dark: bool = False) -> None:
        """As who looks at it from here on: how wide their screen is, and whether they want it dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Load it, and wait until it is loaded."""
        self._browser.events.clear()
        self.call("Page.navigate", url=url)
        self._browser.wait(lambda each: each["method"] == "Page.loadEventFired" and each["sessionId"] == self._session)
        for each in self._browser.events:
            if each["method"] == "Network.requestWillBeSent":
                self.asked.append(each["params"]["request"]["url"])
            elif each["method"] == "Runtime.consoleAPICalled":
                self.said.append(str(each["params"]["args"]))

    def show(self, html: str, directory: Path) -> None:
        """Show a document as who opens the mail's file does."""
        place = directory / "shown.html"
        place.write_text(html)
        self.open(place.as_uri())

    def run(self, script: str) -> Any:
        """The value of an expression there."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def picture(self, path: Path) -> None:
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))


class Browser:
    """`events` are those that came since they were last cleared."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._numbers = itertools.count(1)
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def tab(self) -> Tab:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        return Tab(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def call(self, method: str, session: str | None = None, **given: Any) -> dict[str, Any]:
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": given} | ({"sessionId": session} if session else {})
        os.write(self._writes, json.dumps(asked).encode() + b"\0")
        until = time.monotonic() + DEADLINE_S
        while True:
            told = self._read(until)
            if told.get("id") == number:
                assert "error" not in told, (method, told["error"])
                result: dict[str, Any] = told["result"]
                return result
            self.events.append(told)

    def wait(self, wanted: Any) -> None:
        """Until such an event has come."""
        until = time.monotonic() + DEADLINE_S
        while not any(wanted(each) for each in self.events if "method" in each):
            self.events.append(self._read(until))

    def _read(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reads], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self._reads, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


@contextlib.contextmanager
def browsing(*flags: str) -> Iterator[Browser]:
    """A browser with a profile of its own; it is gone afterwards."""
    assert CHROMIUM is not None
    to_it, ours = os.pipe()
    theirs, from_it = os.pipe()
    with tempfile.TemporaryDirectory(prefix="failwell-browser-", ignore_cleanup_errors=True) as profile:
        started = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{to_it} 4>&{from_it}', CHROMIUM, *_FLAGS, *flags,
             f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_it, from_it), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        os.close(to_it)
        os.close(from_it)
        try:
            yield Browser(theirs, ours)
        finally:
            os.close(ours)
            os.close(theirs)
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, 9)  # its own group: what it started ends with it
            started.wait()
