"""`python -m bench.crowd ADDRESS AGENT RUN CALLERS`: callers of one agent that ask one after the other, without end.

Each has a connection of its own, and comes back a moment later where it is turned away. Where the key lies (the folder
of keys, the record's name) and the door's name come on standard input, a line each. Writes `ready` once as many were
answered as there are callers, and how many were at the end of its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import secrets
import sys
import time
from pathlib import Path

from failwell.identity import agents, http_signatures, keys
from failwell.identity.http_signatures import Stamp

PATH = "/v1/actions/decide"
BACK_S = (0.2, 0.7)


class Crowd:
    """`answered` counts decisions, `turned` those that were turned away."""

    def __init__(self, address: str, agent: str, run: int, key: keys.SigningKey, door: str) -> None:
        self._address, self._agent, self._run, self._key, self._door = address, agent, run, key, door
        self._chance = random.Random(7)
        self.answered = self.turned = 0

    async def caller(self, number: int) -> None:
        """One that asks without end."""
        host, _, port = self._address.partition("://")[2].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        count = 0
        while True:
            writer.write(self._request(f"{number}-{count}"))
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            status = int(head.split(b" ", 2)[1])
            if status == 200:
                self.answered += 1
                count += 1
            elif status == 429:
                self.turned += 1
                await asyncio.sleep(self._chance.uniform(*BACK_S))
            else:
                raise RuntimeError(head.decode())

    def _request(self, call: str) -> bytes:
        arguments = {"customer_id": f"c-{call}", "order_id": f"o-{call}", "amount": "20.50"}
        asked = {"run": self._run, "call": call, "tool": "payments.refund", "reason": "Asked.", "arguments": arguments}
        body = json.dumps(asked).encode()
        stamp = Stamp(int(time.time()), f"{self._door}.{secrets.token_hex(16)}")
        target = self._address + PATH
        signed = http_signatures.sign(self._key, "agent", self._agent, "POST", target, body, stamp)
        fields = {
            "Host": self._address.partition("://")[2], "Content-Type": "application/json",
            "Content-Length": str(len(body)), **signed,
        }  # fmt: skip
        lines = (f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", "")
        return "\r\n".join(lines).encode() + body


async def crowd(address: str, agent: str, run: int, callers: int) -> None:
    config, origin, door = (sys.stdin.readline().strip() for _ in range(3))
    made = Crowd(address, agent, run, agents.load_agent_key(Path(config), origin, agent), door)
    for number in range(callers):
        asking = asyncio.ensure_future(made.caller(number))
        asking.add_done_callback(lambda done: done.cancelled() or sys.exit(f"a caller ended: {done.exception()!r}"))
    while made.answered < callers:
        await asyncio.sleep(0.01)
    began, before = time.perf_counter(), made.answered
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps({"a_second": (made.answered - before) / (time.perf_counter() - began), "turned": made.turned}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    asyncio.run(crowd(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
