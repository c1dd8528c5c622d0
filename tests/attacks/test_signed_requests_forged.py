"""The adversary speaks HTTP, and wants to be taken for somebody: with requests seen, changed, kept and made up.

The door's judgement of callers is in this process, before a real node; the requests are as a server hands them on.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from failwell.client import powers
from failwell.client.async_wire import AsyncWire
from failwell.core import orders as o
from failwell.core.errors import Refused, Unhealthy, Unreachable
from failwell.identity import agents, door_key, issuer, keys, own_tokens
from failwell.identity import http_signatures as hs
from failwell.web.callers import Caller, Callers
from failwell.web.replays import AHEAD_S, WINDOW_S
from tests.simulate.fixtures import model, stage
from tests.simulate.house import SPIFFE, House, await_true
from tests.unit.identity.authority import Authority, pem

__all__ = ["stage"]

BOT, OTHER = f"{SPIFFE}refund-bot", f"{SPIFFE}other-bot"
LOST, REKEYED = "bot-40", "bot-41"
HERE = "http://127.0.0.1:7341"
BODY = b'{"tool":"note.write"}'


@pytest.fixture(scope="module")
def lived(stage: Path) -> Iterator[House]:
    """One node for all who are merely refused."""
    made = model().copy(stage / "lived")
    made.node()
    yield made
    made.hold_true()
    made.hang_up()
    assert made.nodes[-1].stop() == 0
    made.verify()
    made.tear_down()


class Clock:
    """The door's clock, which can be set."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Door:
    """A door's judgement of its callers, and requests for it."""

    def __init__(self, house: House, *, began: float = -3600, **more: Any) -> None:
        self.house = house
        self.clock = Clock()
        self.clock.ahead_s = began
        self.callers = Callers(
            house.workspace.socket, house.workspace.keys, [HERE], clock=self.clock, **more
        )  # fmt: skip
        self.clock.ahead_s = 0.0
        self._number = 0

    @property
    def name(self) -> str:
        return self.callers.fields["failwell-door"]

    def stamp(self, ago_s: float = 0, *, door: str = "none") -> hs.Stamp:
        self._number += 1
        return hs.Stamp(int(self.clock() - ago_s), f"{door}.{self._number:020d}")

    def request(self, name: str = "refund-bot", **more: Any) -> tuple[dict[str, Any], bytes]:
        """A request that `name` signs with its own key."""
        said: dict[str, Any] = {
            "key": self.house.agent_keys.get(name), "role": "agent", "name": name, "method": "POST",
            "target": f"{HERE}/v1/actions/decide", "body": BODY, "stamp": self.stamp(),
        }  # fmt: skip
        said |= more
        return scope(hs.sign(**said), said["target"], said["method"]), said["body"]

    async def taken(self, request: tuple[dict[str, Any], bytes]) -> Caller:
        return await self.callers.of(*request)

    async def refused(self, request: tuple[dict[str, Any], bytes], words: str = ".") -> Refused:
        with pytest.raises(Refused, match=words) as refused:
            await self.callers.of(*request)
        assert refused.value.code == "unauthenticated"
        return refused.value


def scope(fields: dict[str, str], target: str = f"{HERE}/v1/runs", method: str = "POST", **more: Any) -> dict[str, Any]:
    """A request as a server hands it on."""
    _, _, rest = target.partition("://")
    host, slash, path = rest.partition("/")
    path, _, query = (slash + path).partition("?")
    headers = [(b"host", host.encode()), *((name.lower().encode(), value.encode()) for name, value in fields.items())]
    return {
        "type": "http", "method": method, "scheme": "http", "raw_path": path.encode(), "query_string": query.encode(),
        "headers": headers, "extensions": {}, **more,
    }  # fmt: skip


def at(house: House, work: Callable[[Door], Awaitable[Any]], **more: Any) -> Any:
    """What `work` gives at a door of this house."""

    async def whole() -> Any:
        async with opened(house, **more) as door:
            return await work(door)

    return asyncio.run(whole())


@contextlib.asynccontextmanager
async def opened(house: House, **more: Any) -> AsyncIterator[Door]:
    door = Door(house, **more)
    try:
        async with asyncio.timeout(20):
            yield door
    finally:
        await door.callers.close()


# ---- what is taken -------------------------------------------------------------------------------------------


def test_a_signed_request_is_its_agents_and_the_node_knows_it_as_such(lived: House) -> None:
    async def work(door: Door) -> None:
        first, second = await door.taken(door.request()), await door.taken(door.request(name="refund-bot"))
        assert (first.role, first.name, first.way) == ("agent", BOT, "signature")
        assert second.wire is first.wire
        assert await first.wire.call("run.open", agent=BOT) > 0
        with pytest.raises(Refused):
            await (await door.taken(door.request("other-bot"))).wire.call("run.open", agent=BOT)

    at(lived, work)


def test_a_person_and_a_host_are_known_by_their_own_keys(lived: House) -> None:
    key = keys.generate()
    public = base64.b64encode(key.public).decode()
    lived.hand("anna").give("host.register", o.HostRegister(host="shop", key=public, agents=(BOT,)))

    async def work(door: Door) -> None:
        person = await door.taken(door.request(role="person", name="anna", key=lived.persons["anna"].key))
        host = await door.taken(door.request(role="host", name="shop", key=key))
        assert (person.role, person.name, host.role, host.name) == ("person", "anna", "host", "shop")
        assert await host.wire.call("run.open", agent=BOT, principal="customer:1") > 0
        with pytest.raises(Refused):
            await host.wire.call("run.open", agent=OTHER)
        for role, name in (("person", "bert"), ("person", "nobody"), ("host", "other"), ("agent", "anna")):
            await door.refused(door.request(role=role, name=name, key=lived.persons["anna"].key), "does not hold")

    at(lived, work)


# ---- forged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
def test_another_key_and_another_agents_key_prove_nothing(lived: House, known: bool) -> None:
    async def work(door: Door) -> None:
        if known:
            await door.taken(door.request())
        await door.refused(door.request(key=keys.generate()), "does not hold")
        await door.refused(door.request(key=lived.agent_keys["other-bot"]), "does not hold")
        await door.refused(door.request(name="nobody", key=keys.generate()), "does not hold")
        # The name on the keyid is what counts, and it is signed.
        request, body = door.request("other-bot")
        fields = [(name, value.replace(b"other-bot", b"refund-bot")) for name, value in request["headers"]]
        await door.refused(({**request, "headers": fields}, body), "does not hold")

    at(lived, work)


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
@pytest.mark.requirement("R3.17")
def test_a_request_that_was_changed_on_its_way_is_refused(lived: House, known: bool) -> None:
    async def work(door: Door) -> None:
        if known:
            await door.taken(door.request())
        request, body = door.request()
        await door.refused((request, body + b" "), "body")
        digest = [(name, hs.digest_field(body + b" ").encode() if name == b"content-digest" else value)
                  for name, value in request["headers"]]  # fmt: skip
        await door.refused(({**request, "headers": digest}, body + b" "), "does not hold")
        for change in ({"method": "PUT"}, {"raw_path": b"/v1/actions/execute"}, {"query_string": b"x=1"}):
            await door.refused(({**request, **change}, body), "does not hold")
        assert (await door.taken((request, body))).name == BOT  # as it was signed, it is taken

    at(lived, work)


@pytest.mark.requirement("R3.16")
@pytest.mark.requirement("R3.18")
def test_a_field_that_is_added_a_second_time_is_refused_wherever_it_stands(lived: House) -> None:
    async def work(door: Door) -> None:
        other = dict(door.request("other-bot")[0]["headers"])
        for name in (b"signature", b"signature-input", b"content-digest", b"host"):
            request, body = door.request()
            for headers in ([(name, other[name]), *request["headers"]], [*request["headers"], (name, other[name])]):
                await door.refused(({**request, "headers": headers}, body))

    at(lived, work)


@pytest.mark.requirement("R3.16")
def test_a_request_for_another_server_is_refused_though_it_was_well_signed(lived: House) -> None:
    async def work(door: Door) -> None:
        for target in ("http://evil.example/v1/runs", "http://127.0.0.1:7342/v1/runs", "http://127.0.0.1/v1/runs"):
            refused = await door.refused(door.request(target=target), "another name")
            assert HERE in str(refused.hint)
        # Signed for https, arrived over http, which is how this door is reached.
        request, body = door.request(target=HERE.replace("http", "https") + "/v1/runs")
        await door.refused((request, body), "does not hold")
        door.callers.reached_as(["https://failwell.example"])
        assert (await door.taken(door.request(target="https://failwell.example/v1/runs"))).name == BOT

    at(lived, work)


def test_an_algorithm_or_a_use_that_the_request_chooses_is_refused(lived: House) -> None:
    async def work(door: Door) -> None:
        for old, new in ((b'tag="failwell"', b'tag="other"'), (b";tag", b';alg="hmac-sha256";tag'),
                         (b'keyid="agent:', b'keyid="person:'), (b'keyid="agent:', b'keyid="door:')):  # fmt: skip
            request, body = door.request()
            headers = [(name, value.replace(old, new)) for name, value in request["headers"]]
            await door.refused(({**request, "headers": headers}, body))

    at(lived, work)


def test_taking_the_signature_away_leaves_nothing_that_counts(lived: House) -> None:
    async def work(door: Door) -> None:
        request, body = door.request()
        for gone in ({b"signature"}, {b"signature-input"}, {b"signature", b"signature-input"}, {b"content-digest"}):
            headers = [field for field in request["headers"] if field[0] not in gone]
            await door.refused(({**request, "headers": headers}, body))
        # Attack: a signature that does not hold, over a connection that shows a certificate.
        peer = {"failwell.tls": {"peer": Authority().sign(keys.generate().private.public_key(), [BOT]), "chain": ()}}
        forged = door.request(key=keys.generate())[0]
        await door.refused(({**forged, "extensions": peer}, body), "does not hold")
        await door.refused((scope({}), b""), "nothing shows")

    at(lived, work)


# ---- kept and shown again ------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.14")
def test_a_request_that_was_seen_is_taken_once_also_when_it_comes_twice_at_once(lived: House) -> None:
    async def work(door: Door) -> None:
        for request in (door.request(), door.request()):  # the first judged by the node, the second by this door
            found = await asyncio.gather(*(door.callers.of(*request) for _ in range(5)), return_exceptions=True)
            assert sum(isinstance(each, Caller) for each in found) == 1
            assert sum(isinstance(each, Refused) and "before" in each.message for each in found) == 4
            await door.refused(request, "before")

    at(lived, work)


def test_a_request_holds_for_a_minute_and_the_refusal_says_what_to_do_about_the_clock(lived: House) -> None:
    async def work(door: Door) -> None:
        await door.taken(door.request(stamp=door.stamp(WINDOW_S - 5)))
        await door.taken(door.request(stamp=door.stamp(-(AHEAD_S - 2))))
        late = await door.refused(door.request(stamp=door.stamp(WINDOW_S + 5)), "s ago by this door's clock")
        early = await door.refused(door.request(stamp=door.stamp(-(AHEAD_S + 5))), "ahead of this door's clock")
        assert "clock" in str(late.hint)
        assert "clock" in str(early.hint)

    at(lived, work)


def test_a_clock_that_is_set_back_makes_nothing_new_that_was_forgotten(lived: House) -> None:
    async def work(door: Door) -> None:
        kept = door.request()
        await door.taken(kept)
        door.clock.ahead_s = WINDOW_S + 5
        await door.taken(door.request())  # forgets what could not be shown again
        door.clock.ahead_s = 0
        await door.refused(kept, "set back")

    at(lived, work)


@pytest.mark.requirement("R3.15")
def test_a_door_that_begins_anew_takes_nothing_that_the_one_before_it_took(lived: House) -> None:
    kept: list[Any] = []

    async def before(door: Door) -> None:
        kept.extend(door.request(stamp=door.stamp(ago, door=door.name)) for ago in (30, 0, -AHEAD_S + 2))
        for request in kept:
            await door.taken(request)

    async def after(door: Door) -> None:
        for request in kept:
            refused = await door.refused(request, "begun since")
            assert door.name in str(refused.hint)
        # Whoever signs for this door is taken at once.
        await door.taken(door.request(stamp=door.stamp(door=door.name)))
        door.clock.ahead_s = AHEAD_S + 3
        await door.taken(door.request(stamp=door.stamp()))

    at(lived, before)
    at(lived, after, began=0)


@pytest.mark.requirement("R3.32")
def test_what_was_signed_for_one_door_is_taken_by_no_other_however_its_clock_stands(lived: House) -> None:
    kept: list[Any] = []

    async def before(door: Door) -> None:
        door.clock.ahead_s = 60  # it is set right before the next door begins
        kept.append(door.request(stamp=door.stamp(door=door.name)))
        await door.taken(kept[0])

    async def after(door: Door) -> None:
        door.clock.ahead_s = 65
        refused = await door.refused(kept[0], "another door")
        assert door.name in str(refused.hint)

    at(lived, before)
    at(lived, after, began=0)


def test_what_is_remembered_is_bounded_and_beyond_it_nothing_is_taken_unremembered(lived: House) -> None:
    async def work(door: Door) -> None:
        door.callers._replays._of_one = 3
        kept = [door.request() for _ in range(3)]
        for request in kept:
            await door.taken(request)
        with pytest.raises(Refused, match="within 60 s") as busy:
            await door.taken(door.request())
        assert busy.value.code == "busy"
        for request in kept:
            await door.refused(request, "before")
        await door.taken(door.request("other-bot"))  # another identity has room of its own
        door.clock.ahead_s = WINDOW_S + 2
        await door.taken(door.request(stamp=door.stamp()))

    at(lived, work)


# ---- certificates and tokens ---------------------------------------------------------------------------------


class Certified:
    """A certificate that the node made out, with its key."""

    def __init__(self, house: House, name: str = "refund-bot") -> None:
        caller = house.caller(name)
        self.key = keys.generate()
        public = base64.b64encode(self.key.public).decode()
        told = caller.wire.call("certify", agent=caller.agent, key=public, timeout_s=10)
        self.leaf = x509.load_pem_x509_certificate(told["certificate"].encode())
        self.der = base64.b64decode("".join(told["certificate"].split("\n")[1:-2]))


def tls(der: bytes, *chain: bytes) -> dict[str, Any]:
    return {"failwell.tls": {"peer": der, "chain": (der, *chain)}}


def test_a_certificate_on_record_proves_its_agent_over_tls_and_its_key_signs(lived: House) -> None:
    held = Certified(lived)

    async def work(door: Door) -> None:
        shown = await door.taken((scope({}, extensions=tls(held.der)), b""))
        signed = await door.taken(door.request(key=held.key, certificate=held.der))
        assert (shown.name, shown.way, signed.name, signed.way) == (BOT, "tls", BOT, "signature")
        assert shown.wire is signed.wire
        await door.refused(
            door.request(certificate=held.der), "does not hold"
        )  # the agent's key, not the certificate's
        await door.refused(door.request(key=held.key), "does not hold")  # the certificate's key without it
        await door.refused(door.request("other-bot", key=held.key, certificate=held.der))

    at(lived, work)


def test_a_certificate_of_a_stranger_or_of_a_stolen_authority_proves_nothing(lived: House) -> None:
    held = Certified(lived)
    ours = issuer.load_issuer(lived.workspace.keys, authority(lived), lived.workspace.origin())
    assert isinstance(ours, issuer.Issuer)
    key = keys.generate()
    stolen = Authority(key=ours.key.private, certificate=x509.load_der_x509_certificate(ours.certificate))
    made = [
        Authority().sign(key.private.public_key(), [BOT]), stolen.sign(key.private.public_key(), [BOT]),
        stolen.sign(key.private.public_key(), [BOT], serial=held.leaf.serial_number),
    ]  # fmt: skip

    async def work(door: Door) -> None:
        for certificate in made:
            der = base64.b64decode("".join(pem(certificate).split("\n")[1:-2]))
            await door.refused((scope({}, extensions=tls(der)), b""))
            await door.refused(door.request(key=key, certificate=der))
        await door.refused((scope({}, extensions=tls(b"no certificate")), b""))

    at(lived, work)


def authority(house: House) -> bytes:
    return base64.b64decode(
        next(entry["body"]["certificate"] for entry in house.entries("identity.issuer"))
    )  # fmt: skip


def token(house: House, name: str = "refund-bot", **more: Any) -> str:
    said: dict[str, Any] = {
        "key": house.agent_keys[name], "agent": SPIFFE + name, "origin": house.workspace.origin(),
        "issued_s": int(time.time()), "hours": 1, "jti": "ab" * 16,
    }  # fmt: skip
    return own_tokens.make_token(**{**said, **more})


def bearing(text: str) -> tuple[dict[str, Any], bytes]:
    return scope({"Authorization": f"Bearer {text}"}), b""


@pytest.mark.requirement("R3.20")
def test_a_token_of_the_agents_own_key_is_taken_where_tokens_are_and_no_other(lived: House) -> None:
    now = int(time.time())

    async def work(door: Door) -> None:
        good = token(lived)
        assert (await door.taken(bearing(good))).way == "token"
        assert (await door.taken(bearing(good))).name == BOT
        for bad in (
            token(lived, key=lived.agent_keys["other-bot"]), token(lived, agent=OTHER),
            token(lived, origin="failwell.example/other"), token(lived, issued_s=now - 7200),
            token(lived, issued_s=now + 120), good[:-4] + "AAAA", good.rpartition(".")[0] + ".",
            "e30." + good.partition(".")[2],
        ):  # fmt: skip
            await door.refused(bearing(bad))
        signed, body = door.request()
        signed["headers"].append((b"authorization", f"Bearer {good}".encode()))
        await door.refused((signed, body), "not both")

    at(lived, work, tokens=True)

    async def without(door: Door) -> None:
        await door.refused(bearing(token(lived)), "no such authorization")

    at(lived, without)


# ---- keys taken away -----------------------------------------------------------------------------------------


@pytest.mark.requirement("R8.33")
def test_a_revoked_agent_is_nobody_at_once_on_connections_that_are_open_too(lived: House) -> None:
    held = Certified(lived, LOST)

    async def work(door: Door) -> None:
        caller = await door.taken(door.request(LOST))
        waits = asyncio.ensure_future(asyncio.shield(caller.wire.ended))
        shown = scope({}, extensions=tls(held.der)), b""
        await door.taken(shown)
        await door.taken(bearing(token(lived, LOST)))
        key = await asyncio.to_thread(door_key.open_key, lived.workspace.keys)
        raw = await AsyncWire.open(lived.workspace.socket)
        await as_door(raw, key)
        await hello(raw, **passed(door, LOST))
        revoked = await asyncio.to_thread(
            powers.revoke, lived.workspace, lived.persons["anna"], SPIFFE + LOST, "It leaked."
        )
        assert revoked.confirmed
        asks: list[Callable[[], Awaitable[Any]]] = [
            lambda: caller.wire.call("ask", about="agents"),
            lambda: caller.wire.call("run.open", agent=SPIFFE + LOST),
            lambda: caller.wire.call("ask", about="status"),
        ]
        for ask in asks:
            with pytest.raises(Refused) as refused:
                await ask()
            assert refused.value.code == "unauthenticated"
        assert (await waits).code == "unauthenticated"
        with pytest.raises(Refused, match="not proved any more"):  # the node itself, whatever its door does
            await raw.call("ask", about="agents")
        await raw.close()
        for request in (door.request(LOST), shown, bearing(token(lived, LOST))):
            await door.refused(request)
        assert (await door.taken(door.request("other-bot"))).name == OTHER

    at(lived, work, tokens=True)


def test_a_new_key_is_taken_and_the_old_one_is_not_though_it_was_known(lived: House) -> None:
    async def work(door: Door) -> None:
        first = await door.taken(door.request(REKEYED))
        fresh = keys.generate()
        public = base64.b64encode(fresh.public).decode()
        rekeyed = o.AgentRekey(agent=SPIFFE + REKEYED, key=public)
        await asyncio.to_thread(lambda: lived.hand("anna").give("agent.rekey", rekeyed))
        await door.refused(door.request(REKEYED), "does not hold")
        second = await door.taken(door.request(REKEYED, key=fresh))
        assert second.wire is not first.wire
        assert first.wire.ended.done()
        await door.refused(door.request(REKEYED), "does not hold")

    at(lived, work)


def test_a_person_who_left_reads_nothing_more(lived: House) -> None:
    async def work(door: Door) -> None:
        cleo: dict[str, Any] = {"role": "person", "name": "cleo", "key": lived.persons["cleo"].key}
        caller = await door.taken(door.request(**cleo))
        gone = o.PersonLeave(person="cleo", successor="anna", reason="She left.")
        await asyncio.to_thread(lambda: lived.hand("anna").give("person.leave", gone))
        with pytest.raises(Refused):
            await caller.wire.call("ask", about="incidents")
        await door.refused(door.request(**cleo), "does not hold")

    at(lived, work)


# ---- the door itself -----------------------------------------------------------------------------------------


async def hello(wire: AsyncWire, **fields: Any) -> Any:
    return await wire.call("hello", timeout_s=10, **fields)


async def as_door(wire: AsyncWire, key: keys.SigningKey, role: str = "door") -> Any:
    greeting = wire.greeting
    challenge = bytes.fromhex(greeting["challenge"])
    proof = agents.prove(key, greeting["origin"], role, "http", challenge, greeting["node"])
    return await hello(wire, role="door", name="http", proof=base64.b64encode(proof).decode())


def passed(door: Door, name: str = "refund-bot", **more: Any) -> dict[str, Any]:
    request, body = door.request(name, **more)
    signed = hs.read("POST", f"{HERE}/v1/actions/decide", request["headers"], body)
    proof = base64.b64encode(signed.signature).decode()
    return {"role": "agent", "name": name, "shown": "signature", "proof": proof, "base": signed.base.decode()}


@pytest.mark.requirement("R3.19")
def test_nobody_passes_a_caller_on_who_is_not_the_door_and_a_connection_stands_for_one(lived: House) -> None:
    async def work(door: Door) -> None:
        key = await asyncio.to_thread(door_key.open_key, lived.workspace.keys)
        wire = await AsyncWire.open(lived.workspace.socket)
        with pytest.raises(Refused, match="only a door"):
            await hello(wire, **passed(door))
        with pytest.raises(Refused):
            await wire.call("turned", counts=[["x", 1]])
        for forged in (keys.generate(), lived.agent_keys["refund-bot"]):
            with pytest.raises(Refused):
                await as_door(wire, forged)
        with pytest.raises(Refused):
            await as_door(wire, key, "agent")  # what was signed is another role's proof
        await as_door(wire, key)
        for bad in ({"key": keys.generate()}, {"stamp": door.stamp(3600)}):
            with pytest.raises(Refused):
                await hello(wire, **passed(door, **bad))
        with pytest.raises(Refused, match="somebody else"):
            await hello(wire, **{**passed(door), "name": "other-bot"})
        with pytest.raises(Refused):
            await hello(wire, **{**passed(door), "shown": "trust me"})
        assert (await hello(wire, **passed(door)))["proved"] == BOT
        with pytest.raises(Refused, match="another caller"):
            await hello(wire, **passed(door, "other-bot"))
        with pytest.raises(Refused, match="first"):
            await as_door(wire, key)
        await wire.close()

    at(lived, work)


def test_a_door_whose_key_others_can_read_is_none_and_that_is_not_its_callers_fault(
    lived: House, caplog: pytest.LogCaptureFixture
) -> None:
    at(lived, lambda door: door.taken(door.request()))
    path = lived.workspace.keys / door_key.FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(Unreachable, match="does not take this for its door") as told:
        at(lived, lambda door: door.taken(door.request()))
    path.chmod(0o600)
    # Attack: paths of this machine, and what is wrong on it, read from a refusal. They are for the door's log.
    assert str(lived.root) not in f"{told.value.message} {told.value.hint}"
    assert "others may be able" in caplog.text


def test_callers_without_end_fill_nothing_and_those_at_work_are_kept(lived: House) -> None:
    async def work(door: Door) -> None:
        names = [f"bot-{number:02d}" for number in range(6)]
        kept = await door.taken(door.request(names[0]))
        run = await kept.wire.call("run.open", agent=kept.name)
        asked = {"agent": kept.name, "run": run, "tool": "desk.ask", "arguments": '{"customer":"c"}', "how": "begin"}
        begun = await kept.wire.call("act", call="held", **asked)
        for name in names[1:]:
            await door.taken(door.request(name))
        assert len(door.callers._links._of) <= 4
        assert not kept.wire.ended.done()
        action = begun["verdict"]["entry"]
        await kept.wire.call("settle", agent=kept.name, action=action, state="completed")
        listening = [await door.taken(door.request(name)) for name in names[:4]]
        for caller in listening:
            caller.wire.listeners.add(print)
        with pytest.raises(Unhealthy, match="at work"):
            await door.taken(door.request(names[5]))

    at(lived, work, most=4)


def test_strangers_are_counted_in_one_entry_and_not_one_by_one(lived: House) -> None:
    before = len(lived.entries())

    def counted(source: str) -> list[int]:
        found = [entry["body"] for entry in lived.entries()[before:] if entry["kind"] == "refusals"]
        return [each["count"] for each in found if each["source"].startswith(source)]

    async def work(door: Door) -> None:
        for _ in range(20):
            await door.refused(door.request(key=keys.generate()))  # by the node
            await door.refused((scope({}), b""))  # by the door
        await asyncio.sleep(1.1)

    at(lived, work, name="here")
    await_true(lambda: sum(counted("door:here")) == 20 and sum(counted("pid:")) >= 20)
    assert len(counted("door:here")) <= 3
    assert len(counted("pid:")) <= 10
