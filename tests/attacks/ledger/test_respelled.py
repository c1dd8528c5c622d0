"""Entries re-spelled: the attacker has the file and the key and writes the same value in other bytes.

Two spellings of one entry would be two leaves that a reader takes for the same; there is one (RFC 8785).
"""

from __future__ import annotations

import json

from tests.attacks.ledger.judging import Ground, caught


def spellings(data: bytes) -> list[bytes]:
    """The same value, in ways that a lenient reader of JSON takes for the same."""
    value = json.loads(data)
    shuffled = json.dumps(dict(reversed(value.items())), separators=(",", ":"), ensure_ascii=False).encode()
    version = b'"v":%d}' % value["v"]
    return [
        data.replace(b'"at":', b'"at": ', 1),
        data + b"\n",
        b" " + data,
        b"\xef\xbb\xbf" + data,
        data.replace(version, version[:-1] + b".0}"),
        data.replace(version, version[:-2] + b"1e0}") if value["v"] == 1 else data + b" ",
        data.replace(b'{"actor"', b'{"v":1,"actor"', 1),
        data.replace(b'"actor"', b'"\\u0061ctor"', 1),
        data.replace(b'"origin":"failwell/', b'"origin":"failwell\\/', 1),
        data[:-1] + b',"x":null}',
        shuffled,
    ]


def test_every_entry_in_every_other_spelling(ground: Ground) -> None:
    for seq, data in enumerate(ground.data):
        for number, spelled in enumerate(spellings(data)):
            assert spelled != data, number
            if (seq + number) % 6:
                continue  # an entry is tried in a sixth of the spellings, a spelling on a sixth of the entries
            forger = ground.forger()
            forger.store_bytes([*ground.data[:seq], spelled, *ground.data[seq + 1 :]], resign=True)
            caught(forger.verify(), entry=seq, code="entry.bytes")
            ground.hold(forger)
