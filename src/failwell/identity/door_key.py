"""The key by which a door shows the node that it is one: `keys/door.key`, made when the first door is opened.

The node believes a door what it saw itself, such as the certificate that its caller proved to hold, so whoever can read
`keys/` can speak for every agent whose certificate they have. To change it, take the file away and start the door
again: it is read anew at each proof. It signs nothing else.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from failwell.core.errors import InputError, NotFound
from failwell.identity import keys

FILE_NAME: Final = "door.key"
ROLE: Final = "door"


def load_key(directory: Path) -> keys.SigningKey:
    """The key in `directory`; raises NotFound, and InputError (code "key-permissions") where others could use it."""
    return keys.load_key(directory / FILE_NAME)


def open_key(directory: Path) -> keys.SigningKey:
    """The same, made where there is none."""
    try:
        return load_key(directory)
    except NotFound:
        with contextlib.suppress(InputError):  # another door made it meanwhile
            keys.save_key(directory / FILE_NAME, keys.generate())
        return load_key(directory)
