"""Where principal and request of a run come from once its work was handed over (D24)."""

from __future__ import annotations


def handed(provenance: str) -> str:
    """The provenance in the run that was opened under another one.

    What a host proved for the first run is *derived* in the next: that this work belongs to it is the word of the agent
    that hands it over. What was asserted before is asserted still: handing over makes nothing truer.
    """
    return "derived" if provenance == "verified" else provenance
