"""A person's hand on a workspace elsewhere: what an order is about is shown, it is signed here and given over HTTP.

The node judges it as at every door. A stop that the node does not confirm is left with it by the door (`web.giving`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from failwell.client.http_lines import Lines, Signer
from failwell.client.http_wire import HttpWire
from failwell.client.powers import Confirm, Hand, agree
from failwell.identity.persons import Signer as Person


@contextlib.contextmanager
def remote_hand(
    address: str, person: Person, confirm: Confirm = agree, ca_file: str | os.PathLike[str] | None = None
) -> Iterator[Hand]:  # fmt: skip
    """The hand of `person`, whose key is unlocked, at the door of `address`; see `client.remote.connect_remote`."""
    with contextlib.closing(HttpWire(Lines(address, ca_file))) as wire:
        wire.sign_as(person.person, Signer("person", person.person, person.key))
        yield Hand(wire, person, confirm)
