"""`python -m failwell.cli.demo_agent`: the demonstration's agent, a process of its own with a key of its own.

It is an application as anybody would write it: public Python API, tools as decorated functions, one run. It finds
its workspace and its key through the environment, and its shop in the current directory.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import failwell
from failwell.drills.demo import shop, story
from failwell.drills.demo.agent import RefundBot

REFUSED = 4


def _say(event: str, fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


async def _work() -> int:
    with failwell.connect() as gate:
        gate.tool(story.SEND)(shop.send_notice)
        gate.tool(story.SEND_BULK)(shop.send_bulk)
        try:
            async with gate.run(story.AGENT_NAME, principal="shop:orders", request=story.REQUEST) as run:
                await RefundBot(run, story.CUSTOMERS, _say).work()
        except failwell.Error as error:
            _say("gave up", {"code": error.code, "message": error.message})
            return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_work()))
