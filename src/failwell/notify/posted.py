"""Events posted one by one, each signed like a page to a webhook."""

from __future__ import annotations

from failwell.notify import ocsf
from failwell.notify.standard_webhooks import Webhook
from failwell.ports.clock import Clock
from failwell.ports.systems import Happening


class Posted:
    """Whatever takes OCSF events by HTTP."""

    tickets = False

    def __init__(self, webhook: Webhook, origin: str, clock: Clock) -> None:
        self._webhook = webhook
        self._origin = origin
        self._clock = clock

    @property
    def provider(self) -> str:
        """Who takes it over."""
        return self._webhook.provider

    def take(self, happening: Happening, theirs: str | None) -> str | None:
        """Post one event. NotifyFailed."""
        self._webhook.post(happening.key, ocsf.event_of(happening))
        return None

    def probe(self) -> str:
        """Post an event that is about no incident."""
        event = ocsf.probe_of(self._origin, self._clock.wall_us())
        return self._webhook.post(str(event["metadata"]["uid"]), event)
