"""A tool server that answers at once, so that what is measured is what stands in front of it. Standard library only."""

from __future__ import annotations

import json
import sys

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = [
    {"name": "echo", "description": "Gives the text back.", "inputSchema": TEXT},
    {"name": "send", "description": "Sends the text.", "inputSchema": TEXT},
]


def answer(method: str, params: dict[str, object]) -> dict[str, object]:
    if method == "initialize":
        about = {"name": "echo", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        return {"tools": TOOLS}
    arguments = params["arguments"]
    assert isinstance(arguments, dict)
    return {"content": [{"type": "text", "text": arguments["text"]}], "isError": False}


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            told = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message["method"], message["params"])}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
