"""A second reader and verifier of the record, written from the standards alone: to disagree with the first where either
is wrong.

Nothing here imports Failwell or follows a design of its: RFC 8785 by a parser of bytes that knows one spelling, RFC
6962 2.1 by its recursive definition, notes by splitting lines, Ed25519 by `cryptography`. It is slow, holds everything
in memory, and covers what a stranger with the format's description could cover: bytes, places, times, each agent's
count, tree, citations, blobs and tokens, heads entries, keys, the signed head and kept ones. It says where the first
trouble is, as a range of entries in which its cause must lie.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tests.second.grammar import Bad, Grammar
from tests.second.notes import Head, Key, open_note, sha

ENVELOPE = {
    "actor": "s", "agent": "sn", "aprev": "in", "aseq": "in", "at": "s", "blob": "on", "body": "o", "boot": "s",
    "kind": "s", "mono_us": "i", "origin": "s", "refs": "a", "run": "in", "seq": "i", "tokens": "a", "v": "i",
}  # fmt: skip
LETTERS = {"s": str, "i": int, "n": type(None), "o": dict, "a": list}
NODE_BEGINS = {"clock", "node.started", "outcome", "interrupt.confirmed", "interrupt.unconfirmed", "order", "signal"}


class Trouble(NamedTuple):
    """Something that does not hold: the cause lies in entries first..last; None where no entry can be named."""

    first: int | None
    last: int | None
    why: str


# ---- RFC 6962, 2.1 -----------------------------------------------------------------------------------------------


class Tree:
    """MTH as it is defined, over leaf hashes; remembered, or it would take forever."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = leaves
        self.mth = functools.cache(self._mth)

    def _mth(self, begin: int, end: int) -> bytes:
        if end - begin == 0:
            return sha(b"")
        if end - begin == 1:
            return self.leaves[begin]
        k = 1
        while k * 2 < end - begin:
            k *= 2
        return sha(b"\x01" + self.mth(begin, begin + k) + self.mth(begin + k, end))

    def head(self, size: int) -> bytes:
        return self.mth(0, size)


def halves(seq: int) -> list[int]:
    """Widths of the perfect subtrees of more than one leaf that end with leaf `seq`."""
    widths = []
    width = 2
    while (seq + 1) % width == 0:
        widths.append(width)
        width *= 2
    return widths


# ---- the record --------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8192)  # many verifications differ in one entry only
def read_entry(data: bytes) -> dict[str, Any]:
    value = Grammar(data).read()
    if type(value) is not dict or value.keys() != ENVELOPE.keys():
        raise Bad("no entry")
    for name, letters in ENVELOPE.items():
        if type(value[name]) not in {LETTERS[letter] for letter in letters}:
            raise Bad(f"{name} is of another type")
    for ref in value["refs"]:
        if type(ref) is not list or [type(part) for part in ref] != [str, int, str]:
            raise Bad("no reference")
    if {type(token) for token in value["tokens"]} - {str}:
        raise Bad("no token")
    blob = value["blob"]
    if blob is not None and (blob.keys() != {"ciphertext", "key"} or {type(part) for part in blob.values()} != {str}):
        raise Bad("no blob")
    return value


class Second:
    """One verification; `troubles` afterwards, the one with the smallest certain cause first."""

    def __init__(self, tables: dict[str, list[Any]], vkey: str, kept: Iterable[bytes] = ()) -> None:
        self.tables = tables
        self.found: list[Trouble] = []
        self.entries: list[dict[str, Any] | None] = []
        self.heads: dict[str, tuple[int, int, bytes]] = {}
        #: (from entry, origin, vkey, whether the key before vouches for this one)
        self.keys: list[tuple[int, str, str, bool]] = []
        self.leaves: list[bytes] = []
        self.whole = True
        self.latest = ""
        self.read()
        self.tree = Tree(self.leaves)
        self.nodes()
        for seq, entry in enumerate(self.entries):
            if entry is not None:
                self.place(seq, entry)
                self.cite(seq, entry)
                self.count(seq, entry)
        self.beside()
        self.sign(vkey, [bytes(each) for each in kept])

    @property
    def troubles(self) -> list[Trouble]:
        def rank(each: Trouble) -> tuple[int, int]:
            return (2**70, 0) if each.first is None or each.last is None else (each.last, each.last - each.first)

        return sorted(self.found, key=rank)

    def say(self, why: str, first: int | None, last: int | None = None) -> None:
        self.found.append(Trouble(first, first if last is None else last, why))

    def read(self) -> None:
        for row in self.tables["entry"]:
            seq = len(self.entries)
            if len(row) != 4 or type(row[0]) is not int or {type(part) for part in row[1:]} != {bytes}:
                self.say("no row", seq)
                self.whole = False
                return
            if row[0] != seq:
                self.say("entries are missing, doubled or out of order", min(seq, row[0]))
                self.whole = False
                return
            self.leaves.append(sha(b"\x00" + row[1]))
            if row[2] != self.leaves[-1]:
                self.say("the leaf is not that of the bytes", seq)
            try:
                self.entries.append(read_entry(row[1]))
            except (Bad, RecursionError) as error:
                self.say(f"bytes: {error}", seq)
                self.entries.append(None)

    def nodes(self) -> None:
        if not self.whole:
            return
        for seq, row in enumerate(self.tables["entry"]):
            if row[3] != b"".join(self.tree.mth(seq + 1 - width, seq + 1) for width in halves(seq)):
                # Some hash at or below this place is not what it was, or this one itself.
                self.say("the subtree hashes do not follow from the leaves", 0, seq)

    def place(self, seq: int, entry: dict[str, Any]) -> None:
        before = self.entries[seq - 1] if seq else None
        if entry["seq"] != seq:
            self.say("it bears another number", seq)
        if (entry["kind"] == "genesis") != (seq == 0):
            self.say("genesis is the first entry and no other", seq)
        elif seq == 0:
            self.keys.append((0, entry["origin"], entry["body"].get("log_key"), False))
        if entry["kind"] in ("log.key", "continued"):
            self.change(seq, entry, before)
        elif self.keys and entry["origin"] != self.keys[-1][1]:
            self.say("it is of another log", seq)
        self.times(seq, entry, before)

    def times(self, seq: int, entry: dict[str, Any], before: dict[str, Any] | None) -> None:
        if not self.instant(entry["at"]):
            self.say("no instant", seq)
        elif entry["at"] < self.latest:
            self.say("time goes back", max(0, seq - 1), seq)
        else:
            self.latest = entry["at"]
        if before is not None:
            if entry["boot"] == before["boot"] and entry["mono_us"] < before["mono_us"]:
                self.say("the boot clock goes back", seq - 1, seq)
            if entry["boot"] != before["boot"] and entry["kind"] != "clock":
                self.say("another boot without a clock entry", seq - 1, seq)

    def instant(self, text: str) -> bool:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", text, re.ASCII):
            return False
        try:
            datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007
        except ValueError:
            return False
        return True

    def change(self, seq: int, entry: dict[str, Any], before: dict[str, Any] | None) -> None:
        body = entry["body"]
        try:
            if entry["kind"] == "log.key":
                was, key = Key.of(body["was"]), Key.of(body["key"])
                lines = open_note(body["statement"].encode(), was, key)
                good = lines == ["failwell/log-key/1", entry["origin"], body["was"], body["key"]]
                good = good and bool(self.keys) and self.keys[-1][1:3] == (entry["origin"], body["was"])
                good = good and was.public != key.public and was.name == key.name == entry["origin"]
            else:
                good = body["size"] == seq - 1 and body["root"] == self.tree.head(seq - 1).hex()
                good = good and before is not None and before["kind"] == "order" and before["at"] == entry["at"]
                good = good and bool(self.keys) and self.keys[-1][1] == body["was"]
                good = good and entry["origin"] not in {era[1] for era in self.keys}
                good = good and Key.of(body["key"]).name == entry["origin"]
                if body["lost_note"] is not None:
                    text = body["lost_note"].rpartition("\n\n")[0]
                    lost = Head.of(text.split("\n"))
                    good = good and (lost.origin, lost.size, lost.root.hex()) == (
                        body["was"], body["lost_size"], body["lost_root"],
                    )  # fmt: skip
        except (Bad, KeyError, AttributeError, TypeError):
            good = False
        if not good:
            self.say("the log's key or name changes wrongly", seq)
        self.keys.append((seq, entry["origin"], body.get("key"), good and entry["kind"] == "log.key"))

    def cite(self, seq: int, entry: dict[str, Any]) -> None:
        origin = self.keys[-1][1] if self.keys else entry["origin"]
        for named, cited, leaf in entry["refs"]:
            if named != origin or not 0 <= cited < seq:
                self.say("it cites no earlier entry", seq)
            elif self.leaves[cited].hex() != leaf:
                self.say("it cites an entry by another leaf", cited, seq)

    def count(self, seq: int, entry: dict[str, Any]) -> None:
        if entry["kind"] == "heads" and None not in self.entries[:seq]:
            lines = sorted(f"{agent} {count} {leaf.hex()}".encode() for agent, (count, _, leaf) in self.heads.items())
            ordered = sorted(lines, key=lambda line: line.rsplit(b" ", 2)[0])
            root = Tree([sha(b"\x00" + line) for line in ordered]).head(len(ordered)).hex()
            if (entry["body"].get("upto"), entry["body"].get("agents")) != (seq, len(ordered)):
                self.say("a heads entry counts other agents", 0, seq)
            elif entry["body"].get("root") != root:
                self.say("a heads entry has another root", 0, seq)
        agent = entry["agent"]
        if agent is None:
            if (entry["aseq"], entry["aprev"]) != (None, None):
                self.say("it counts for no agent", seq)
            return
        count, last, _ = self.heads.get(agent, (0, None, b""))
        if (entry["aseq"], entry["aprev"]) != (count, last):
            unread = max((at for at in range(seq) if self.entries[at] is None), default=-2)
            if (-1 if last is None else last) > unread or entry["aseq"] is None or entry["aseq"] < count:
                self.say("the agent's own count has a gap", min(seq, 0 if last is None else last + 1), seq)
            count = count if entry["aseq"] is None else entry["aseq"]
        self.heads[agent] = (count + 1, seq, self.leaves[seq])

    def rows(self, table: str, types: list[type]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for row in self.tables[table]:
            if [type(part) for part in row] != types or row[0] in found:
                self.say(f"no row of table {table}", None)
            else:
                found[row[0]] = row
        return found

    def beside(self) -> None:
        blobs, tokens = self.rows("blob", [int, bytes, bytes]), self.rows("token", [int, str, bytes, bytes])
        for seq, entry in enumerate(self.entries):
            blob = blobs.pop(seq, None)
            mine = {at: tokens.pop(at) for at in [at for at in tokens if at // 1024 == seq]}
            if entry is None:
                continue  # what it bound cannot be told
            bound = None if blob is None else {"ciphertext": sha(blob[1]).hex(), "key": sha(blob[2]).hex()}
            if bound != entry["blob"]:
                self.say("a blob too many, too few, or another one", seq)
            digests = {at: sha(row[1].encode() + b"\x00" + row[2] + row[3]).hex() for at, row in mine.items()}
            if digests != {seq * 1024 + at: digest for at, digest in enumerate(entry["tokens"])}:
                self.say("a token too many, too few, or another one", seq)
        if self.whole:
            for owner in itertools.chain(blobs, (at // 1024 for at in tokens)):
                self.say("a blob or token that no entry names", owner)

    # ---- heads ----

    def sign(self, vkey: str, kept: list[bytes]) -> None:
        try:
            trusted = Key.of(vkey)
        except Bad as error:
            self.say(f"the key: {error}", None)
            return
        reach = -1  # the last of the log's keys that follows from the trusted one
        for at, (_, origin, key, by_the_one_before) in enumerate(self.keys):
            if (key, origin) == (vkey, trusted.name) or (reach == at - 1 >= 0 and by_the_one_before):
                reach = at
        if self.keys and reach < 0:
            self.say("no key of this log is the trusted one", 0)
        own = self.tables["checkpoint"]
        if len(own) != 1 or len(own[0]) != 3 or own[0][0] != 1 or type(own[0][2]) is not bytes:
            self.say("no checkpoint", None)
        else:
            self.own(own[0][1], own[0][2], trusted, reach)
        for note in kept:
            self.kept(note, trusted, reach)

    def signed(self, note: bytes, trusted: Key, reach: int, *, own: bool) -> Head:
        """A head, if the key that its size and name call for signed it and follows from the trusted one."""
        lines = note.decode("utf-8", "replace").rpartition("\n\n")[0].split("\n")
        claimed = Head.of(lines)
        eras = [at for at, era in enumerate(self.keys) if era[0] < claimed.size or at == 0]
        if not own:  # one that was kept may be of a name that the log had by then, and has no longer
            eras = [at for at in eras if self.keys[at][1] == claimed.origin]
        if not self.keys or reach < 0:
            key, origin = trusted, trusted.name
        elif not eras:
            raise Bad("a head of another log")
        else:
            if eras[-1] > reach:
                raise Bad("its key does not follow from the trusted one")
            key, origin = Key.of(self.keys[eras[-1]][2]), self.keys[eras[-1]][1]
        head = Head.of(open_note(note, key))
        if head.origin != origin:
            raise Bad("a head of another log")
        return head

    def own(self, size: Any, note: bytes, trusted: Key, reach: int) -> None:
        try:
            head = self.signed(note, trusted, reach, own=True)
        except Bad as error:
            self.say(f"the signed head: {error}", None)
            return
        if size != head.size:
            self.say("the row of the head names another size", 0, max(head.size, size if type(size) is int else 0))
        if head.size > len(self.entries):
            self.say("entries are missing at the end", len(self.entries))
        elif self.whole and self.tree.head(head.size) != head.root:
            self.say("the entries do not give the signed root", 0, max(0, head.size - 1))
        elif 0 < head.size < len(self.entries):
            last, beyond = self.entries[head.size - 1], self.entries[head.size]
            stopped = last is not None and last["kind"] == "node.stopped"
            if stopped and beyond is not None and beyond["kind"] not in NODE_BEGINS:
                self.say("entries behind a node that had stopped", head.size)

    def kept(self, note: bytes, trusted: Key, reach: int) -> None:
        try:
            head = self.signed(note, trusted, reach, own=False)
        except Bad as error:
            self.say(f"a kept head: {error}", None)
            return
        begun = min((since for since, origin, _, _ in self.keys if origin == head.origin), default=None)
        given_up = [since for since, origin, _, _ in self.keys if origin != head.origin and since < head.size]
        if begun is not None and given_up and max(given_up) > begun:
            self.say("a kept head covers entries that were given up", max(given_up))
        elif head.size > len(self.entries):
            self.say("entries are missing that a kept head covers", len(self.entries))
        elif self.whole and self.tree.head(head.size) != head.root:
            self.say("a kept head disagrees", 0, max(0, head.size - 1))
