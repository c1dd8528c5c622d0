"""What a client may say to the node, one typed record a request; anything else is refused.

A frame is a 4-byte big-endian length and that many bytes of JSON. The node speaks first (`Greeting`). Each request
carries an `id` that its reply repeats; replies may come in another order. `push` frames (an interrupt of a
cooperative action) have no id.
"""

from __future__ import annotations

from typing import Any

import msgspec

from failwell.gate.custody import Probe
from failwell.gate.noticing import Notice

#: Arguments of 2 MiB must still be answered with a recorded DENY; as a JSON string they may take thrice that.
MAX_FRAME_BYTES = 16 * 1024 * 1024


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do"):
    id: int


class Hello(Request, frozen=True, kw_only=True, tag="hello"):
    """Proves an identity on this connection: `proof` is base64 over the greeting's challenge.

    `shown`: a door that proved itself here passes on how its caller did: "signature" over `base`, the text of a signed
    HTTP request; "tls", the `certificate` that the caller proved to hold; "token", one that the agent's key signed.
    """

    role: str
    name: str
    proof: str
    certificate: str | None = None
    token: str | None = None
    shown: str | None = None
    base: str | None = None


class Turned(Request, frozen=True, kw_only=True, tag="turned"):
    """A door counts the callers that it turned away by itself: why, and how many."""

    counts: tuple[tuple[str, int], ...]


class Secure(Request, frozen=True, kw_only=True, tag="secure"):
    """A door asks whom its callers' certificates may be from, and with `key` (base64) for a certificate of its own,
    for these hosts.
    """

    hosts: tuple[str, ...] = ()
    key: str | None = None


class Certify(Request, frozen=True, kw_only=True, tag="certify"):
    """Ask for a short-lived certificate over `key` (base64), for an agent that this connection has proved to be."""

    agent: str
    key: str


class OpenRun(Request, frozen=True, kw_only=True, tag="run.open"):
    """`parent` is an open run of an agent that this connection has proved to be, which hands its work over.

    `model`, `prompt` and `tool_schemas` are digests of what the agent works with, by its own word.
    """

    agent: str
    principal: str | None = None
    request: str | None = None
    parent: int | None = None
    model: str | None = None
    prompt: str | None = None
    tool_schemas: str | None = None


class CloseRun(Request, frozen=True, kw_only=True, tag="run.close"):
    agent: str
    run: int
    reason: str = "done"


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to execute: `command` is an argument vector (a decorated function's is made by the client)."""

    command: tuple[str, ...]
    cwd: str | None = None
    env: dict[str, str] = {}


class Act(Request, frozen=True, kw_only=True, tag="act"):
    """Propose one action. `how`: decide (verdict only), permit (the same, and a permit for the tool server that is
    `audience`), begin (the caller executes it), execute (supervised), forward (the tool server of `session` does).

    `progress`: what is told of it on its way is pushed to the caller (`push` frames with its call id).
    """

    agent: str
    run: int | None
    call: str
    tool: str
    arguments: str
    reason: str | None = None
    ticket: int | None = None
    how: str = "decide"
    target: Target | None = None
    audience: str | None = None
    session: str | None = None
    progress: bool = False


class OpenUpstreams(Request, frozen=True, kw_only=True, tag="upstreams.open"):
    """Start the tool servers of one session of an agent, for an open run of it: those named, or all of its contract.

    Answered with the session's name and what may be used of each (`node.upstreams`). They end with the connection.
    """

    agent: str
    run: int
    upstreams: tuple[str, ...] = ()


class ListUpstreams(Request, frozen=True, kw_only=True, tag="upstreams.list"):
    """What may be used now, after a `listed` push or another contract."""

    session: str


class CloseUpstreams(Request, frozen=True, kw_only=True, tag="upstreams.close"):
    """End the tool servers of a session."""

    session: str


class Cancel(Request, frozen=True, kw_only=True, tag="cancel"):
    """The caller does not want what it asked for any more: the action of `call` in `run` is stopped."""

    agent: str
    run: int
    call: str
    why: str | None = None


class Settle(Request, frozen=True, kw_only=True, tag="settle"):
    """The caller's own word on an action that it executed: completed, failed, interrupted, or running where it was to
    stop and does not.
    """

    agent: str
    action: int
    state: str
    result: str | None = None
    why: str | None = None


class Explain(Request, frozen=True, kw_only=True, tag="explain"):
    """Why the agent did what it did, given after the decision."""

    agent: str
    action: int
    reason: str


class Say(Request, frozen=True, kw_only=True, tag="notice"):
    """The host of an agent says that something is off with it."""

    agent: str
    said: Notice


class Give(Request, frozen=True, kw_only=True, tag="order"):
    """Signed orders (one, or two that belong together) and what they are about, such as a contract's text.

    `code` is one that was mailed to the person: it goes beside the order, because an order is recorded. So does `text`,
    what the person wrote, to which the order is bound by a digest with `salt`.
    """

    orders: tuple[dict[str, str], ...]
    document: str | None = None
    contact: str | None = None
    salt: str | None = None
    code: str | None = None
    text: str | None = None


class Answer(Request, frozen=True, kw_only=True, tag="answer"):
    """Somebody has the token of a page: `look` tells what it is about and consumes nothing."""

    token: str
    look: bool = False


class Mailed(Request, frozen=True, kw_only=True, tag="mailed"):
    """A mail that came in, in base64: an answer, a bounce, or nothing that counts."""

    content: str


class Hooked(Request, frozen=True, kw_only=True, tag="hooked"):
    """What an on-call service says by its webhook: its body as it came, and its signatures."""

    channel: str
    body: str
    signature: str


class Probed(Request, frozen=True, kw_only=True, tag="probed"):
    """What an agent's own side could reach of its tools without the gate, as the user `uid`."""

    agent: str
    uid: int
    found: tuple[Probe, ...]


class Ask(Request, frozen=True, kw_only=True, tag="ask"):
    """A question that changes nothing; `about` names it, `key` what it is about."""

    about: str
    key: Any = None


#: Who is at the door; what comes back of messages.
Shown = Hello | Turned | Secure | Certify
Given = Answer | Mailed | Hooked
AnyRequest = (
    Hello | Turned | Secure | Certify | OpenRun | CloseRun | Act | Settle | Explain | Say | Give | Ask | Probed
    | OpenUpstreams | ListUpstreams | CloseUpstreams | Cancel | Answer | Mailed | Hooked
)  # fmt: skip
DECODER: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
ENCODER = msgspec.json.Encoder()


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """The node's first frame: who it is, and the challenge that identities are proved against.

    `origins`: the names the record has had, the present one first; keys made under an earlier one still serve.
    """

    protocol: int
    origin: str
    origins: tuple[str, ...]
    node: str
    challenge: str
    pid: int
    mode: str


def frame(message: Any) -> bytes:
    """One frame on the wire."""
    data = ENCODER.encode(message)
    return len(data).to_bytes(4, "big") + data


def peek_id(data: bytes) -> int:
    """The id of a request that is otherwise malformed, so that its caller hears of it."""

    class Peek(msgspec.Struct):
        id: int = 0

    try:
        return msgspec.json.decode(data, type=Peek).id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return 0
