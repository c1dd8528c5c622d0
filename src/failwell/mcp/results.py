"""What a tool server's result says of itself, and what stands in the place of one that is too long to pass on.

A result is the word of somebody whom nobody here has checked: it is read for these two members and for nothing else.
"""

from __future__ import annotations

from failwell.mcp.messages import members, text_of


def says_failed(result: bytes) -> bool:
    """Say whether the result of a tools/call is that of a failure: anything but a plain false. Raises InputError."""
    return members(result).get("isError", b"false") not in (b"false", b"null")


def asks_for_input(result: bytes) -> bool:
    """Say whether `result` is none yet: its server wants to be told something first. Raises InputError."""
    return members(result).get("resultType", b'"complete"') not in (b'"complete"', b"null")


def in_place_of_result(source: str, most: int) -> bytes:
    """Return the result of a tools/call whose own was longer than `most` bytes: what it did, it has done."""
    text = (
        f"The result of {source} is longer than {most} bytes and was not passed on. The tool did answer: what it was "
        "asked to do may have been done. Ask for less at once (a range, a page, a filter)."
    )
    # Told as an error, since a client holds anything else to the form that the tool has promised.
    return text_of({"content": [{"type": "text", "text": text}], "isError": True})
