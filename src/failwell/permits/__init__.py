"""Permits for tool servers: is this call one that Failwell allowed, once, just now, and not stopped since?

A node that allows an action which runs elsewhere signs a permit for it; the server that is about to act checks it here,
offline. Ten lines of use, the layout of the claims and what the bounds are: docs/permits.md.

It needs the standard library, cryptography and joserfc, asks nobody, and knows no ledger: whether the action was
rightly allowed is the node's affair, and stands in its record.
"""

from __future__ import annotations

from failwell.permits.refusal import PermitRefused
from failwell.permits.verifier import Permit, Verifier

__all__ = ["Permit", "PermitRefused", "Verifier"]
