"""Pages by whatever Apprise speaks to (extra `apprise`). What it says counts as accepted by a provider, and as no more.

It has no deadline of its own, no key by which a repetition is told, chooses the addresses that it speaks to and follows
where it is sent: use a channel of ours where there is one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from failwell.core.instants import format_at
from failwell.notify.message import clean_line, clean_text
from failwell.ports.clock import Clock
from failwell.ports.notifier import Message, NotifyFailed, Receipt

_SAID = {"trigger": "", "acknowledge": "Taken: ", "resolve": "Over: "}


class Apprise:
    """`url` reads the Apprise URL, which holds secrets."""

    provider = "a provider, by Apprise"

    def __init__(self, url: Callable[[], str], clock: Clock, deadline_s: float) -> None:
        self._url = url
        self._clock = clock
        self._deadline_s = deadline_s
        self._telling: threading.Thread | None = None

    def tell(self, message: Message) -> Receipt:
        """Hand it over; NotifyFailed where the extra is missing, the URL is none, or the provider did not accept."""
        # Attack: a provider that never answers, asked again and again: one thread waits for it, and not a thousand.
        if self._telling is not None and self._telling.is_alive():
            raise NotifyFailed("the provider has not answered the message before this one yet", temporary=True)
        url = self._url().strip()
        title = clean_line(f"{_SAID[message.action]}{message.subject}", 250)
        body = clean_text(message.text)
        said: list[NotifyFailed | None] = []
        self._telling = threading.Thread(
            target=lambda: said.append(_hand_over(url, title, body)), name="apprise", daemon=True
        )
        self._telling.start()
        self._telling.join(self._deadline_s)
        if not said:
            raise NotifyFailed("the provider did not answer in time", temporary=True)
        if said[0] is not None:
            raise said[0]
        return Receipt(accepted=True, detail="accepted by the provider", at=format_at(self._clock.wall_us()))


def _hand_over(url: str, title: str, body: str) -> NotifyFailed | None:
    """What it failed with, without the URL, or None."""
    try:
        import apprise
    except ImportError:
        return NotifyFailed("Apprise is not installed", temporary=False, hint="pip install 'failwell[apprise]'")
    try:
        teller = apprise.Apprise()
        if not teller.add(url):
            return NotifyFailed("Apprise does not know the URL in that secret", temporary=False)
        if teller.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            return None
    except Exception as error:  # noqa: BLE001  whatever a provider's plugin does is one failed attempt
        return NotifyFailed(f"the provider's part of Apprise failed ({type(error).__name__})", temporary=True)
    return NotifyFailed("the provider did not accept it", temporary=True)
