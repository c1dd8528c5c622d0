"""The order: one signed use of a human power, and the closed table of powers (I7, I8, D31).

A person signs `b"failwell/order/1\\n"` followed by the order's canonical JSON (RFC 8785 under the profile),
which names the ledger it is for, the person, a single-use nonce and the digest of what was shown. Text is
accepted only if encoding what was decoded gives it back: one order has one spelling, one signature covers
one meaning.

This module does not sign, verify signatures (`identity.persons`), remember nonces or carry anything out.
Whether the person holds the role, and whether two keys are two people's, is judged where enrolled persons
are known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import MappingProxyType
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from failwell.core.errors import InputError, Refused
from failwell.core.instants import parse_at

SIGNED_PREFIX = b"failwell/order/1\n"
MAX_ORDER_BYTES = 16_384

# A permitting order that was signed and kept is a loaded gun, so each is good for a while only, by the
# person's own clock. A restricting order never grows stale (I8); its nonce alone keeps it from being played
# twice.
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
MONTH_US = 30 * 24 * HOUR_US
MAX_AHEAD_US = 5 * MINUTE_US

# Look-alike letters of other scripts never reach a signature: names are lower-case ASCII. `\Z`, because `$`
# would let a trailing line feed through. The structure of names is judged in `identity.names`.
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?\Z", max_length=63)]
AgentId = Annotated[str, Meta(pattern=r"^(spiffe://[a-z0-9][a-z0-9._/-]*|[a-z0-9][a-z0-9._-]*)\Z", max_length=255)]
Origin = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._/-]*\Z", max_length=255)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Nonce = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
KeyId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
# Base64 with its unused bits zero: a second spelling of the same bytes would be a second order.
PublicKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\Z")]
Signature = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{85}[AQgw]==\Z")]
# No control characters and no bidirectional overrides: what a person signs reads as it is.
Text = Annotated[
    str, Meta(pattern="^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*\\Z", min_length=1, max_length=1000)
]
# A tool's name is spelled as contracts spell it.
Scope = Annotated[
    str,
    Meta(
        pattern=r"^(all|(group|contract):[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?|"
        r"tool:[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127})\Z"
    ),
]
Tool = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}\Z")]
VKey = Annotated[str, Meta(pattern=r"^[a-z0-9._/-]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}\Z", max_length=400)]
Count = Annotated[int, Meta(ge=1, lt=2**53)]
Seq = Annotated[int, Meta(ge=0, lt=2**53)]
Severity = Annotated[str, Meta(pattern=r"^(minor|major|critical)\Z")]
At = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z\Z")]


class Details(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of what an order of one kind says beyond its envelope."""


class Init(Details, frozen=True):
    """A new workspace: the first person's own key and roles, and the digest of the settings in force."""

    key: PublicKey
    roles: tuple[Name, ...]
    contact: Digest | None
    settings: Digest


class PersonEnrol(Details, frozen=True):
    """A further person. `proof` is the new key's own signature (`identity.persons`)."""

    person: Name
    key: PublicKey
    proof: Signature
    roles: tuple[Name, ...]
    contact: Digest | None


class HostRegister(Details, frozen=True):
    """An application that opens runs, and the agents that it may open them for."""

    host: Name
    key: PublicKey
    agents: tuple[AgentId, ...]


class ContactAsk(Details, frozen=True):
    """Send a code to the address that a person enrolled with (`contact`, its commitment)."""

    person: Name
    contact: Digest


class ContactVerify(Details, frozen=True):
    """A person was reached at the address they enrolled with.

    `how`: `code`, they have the code that was sent there and give it beside the order (it never enters the record);
    `vouched`, another person says so.
    """

    person: Name
    contact: Digest
    how: Annotated[str, Meta(pattern=r"^(code|vouched)\Z")]


class PersonLeave(Details, frozen=True):
    """A person is gone; `successor` is asked to take over their agents."""

    person: Name
    successor: Name
    reason: Text


class AgentRegister(Details, frozen=True, omit_defaults=True):
    """An agent, its public key, its one accountable person, and the groups whose floors bind it.

    `detect_only`: it cannot be put behind a gate, its vendor's log is the witness.
    """

    agent: AgentId
    key: PublicKey
    owner: Name
    groups: tuple[Name, ...] = ()
    detect_only: bool = False


class AgentAssign(Details, frozen=True):
    """Another person becomes accountable for the agent."""

    agent: AgentId
    owner: Name


class AgentGroup(Details, frozen=True):
    """The agent joins a group."""

    agent: AgentId
    group: Name


class AgentRekey(Details, frozen=True):
    """A new key of the agent, in the place of the one it had, if any."""

    agent: AgentId
    key: PublicKey


class AgentRevoke(Details, frozen=True):
    """The agent's key and all its certificates prove nothing any more."""

    agent: AgentId
    reason: Text


class AgentObserve(Details, frozen=True):
    """Record what the agent does and govern nothing of it, until that time: its owner's order."""

    agent: AgentId
    until: At
    reason: Text


class AgentGovern(Details, frozen=True):
    """End an observation early: from now on the contract is kept."""

    agent: AgentId


class FloorSign(Details, frozen=True):
    """One person stands for this version of a floor; `digest` is over its canonical JSON."""

    floor: Name
    version: Count
    digest: Digest


class FloorAdopt(Details, frozen=True):
    """Another one puts it in force. `signed` is the digest of the first person's order."""

    floor: Name
    version: Count
    digest: Digest
    signed: Digest


class TicketApprove(Details, frozen=True):
    """Let the one action that this ticket asks about pass, once; `arguments` is the digest it is bound to."""

    ticket: Seq
    arguments: Digest
    reason: Text


class TicketDeny(Details, frozen=True):
    """Do not let it pass; an approval that nobody used yet is taken back."""

    ticket: Seq
    reason: Text


class ContractSign(Details, frozen=True):
    """The owner stands for this version of a contract; `digest` is over its canonical JSON."""

    contract: Name
    version: Count
    digest: Digest


class ContractAdopt(Details, frozen=True):
    """The approver puts it in force. `signed` is the digest of the owner's order (`order_digest`)."""

    contract: Name
    version: Count
    digest: Digest
    signed: Digest


class ConfigApply(Details, frozen=True):
    """New settings in force, over exactly those that the person saw in force (`previous`)."""

    settings: Digest
    previous: Digest


class AgentSuspend(Details, frozen=True):
    """Stop what runs and allow nothing more."""

    agent: AgentId
    reason: Text


class StopScope(Details, frozen=True):
    """Stop everything within a scope, now, and let nothing of it start: `all`, a group, a tool or a contract."""

    scope: Scope
    reason: Text


class LiftPropose(Details, frozen=True):
    """Let what is within a stopped scope start again. `epoch` is that of the stop that is meant."""

    scope: Scope
    epoch: Count
    conditions: Text
    evidence: Annotated[tuple[Seq, ...], Meta(min_length=1, max_length=256)]


class LiftApprove(Details, frozen=True):
    """A second person agrees. `proposal` is the digest of the proposing order (`order_digest`)."""

    scope: Scope
    epoch: Count
    proposal: Digest


class ActionCompensate(Details, frozen=True):
    """Undo what an action did that has ended: `step` is what `contract` (its digest) declares for the `tool`."""

    action: Seq
    tool: Tool
    step: Tool
    contract: Digest
    reason: Text


class IncidentAcknowledge(Details, frozen=True):
    """A named person took the incident."""

    incident: Count


class ReleasePropose(Details, frozen=True, omit_defaults=True):
    """Give authority back: the entries it rests on, the conditions, and the authority to return to.

    `probation_minutes`: how long PROBATION lasts at least (0: as the rules have it).
    """

    incident: Count
    agent: AgentId
    authority: Annotated[str, Meta(pattern=r"^(PROBATION|RESTRICTED|ACTIVE)\Z")]
    conditions: Text
    evidence: Annotated[tuple[Seq, ...], Meta(min_length=1, max_length=256)]
    probation_minutes: Annotated[int, Meta(ge=0, le=527_040)] = 0


class ReleaseApprove(Details, frozen=True):
    """A second person agrees. `proposal` is the digest of the proposing order (`order_digest`)."""

    incident: Count
    agent: AgentId
    proposal: Digest


class ReleaseBreak(Details, frozen=True):
    """Break-glass: one person alone gives authority back for so many minutes; people are paged, a review is owed."""

    incident: Count
    agent: AgentId
    reason: Text
    minutes: Annotated[int, Meta(ge=1, le=1440)]


class ReleaseReview(Details, frozen=True):
    """Another person's answer to that: `broken` is its entry. Not upheld, the agent is suspended again."""

    incident: Count
    broken: Seq
    upheld: bool
    words: Digest


class IncidentReport(Details, frozen=True):
    """A person reports a failure: also one learned of outside, `aware` when. What they know of it is in `words`.

    `first` and `last` are entries it is about, where they can say so; without an agent nobody knows yet which it was.
    """

    report: Annotated[str, Meta(pattern=r"^(real|drill|canary|external|near-miss)\Z")]
    agent: AgentId | None
    severity: Severity
    title: Text
    words: Digest | None
    aware: At | None
    first: Seq | None
    last: Seq | None


class IncidentNote(Details, frozen=True):
    """Write something down: a note, a finding that cites entries, or a factor that contributed."""

    incident: Count
    sort: Annotated[str, Meta(pattern=r"^(note|finding|factor)\Z")]
    words: Digest
    cites: Annotated[tuple[Seq, ...], Meta(max_length=256)]


class IncidentGiveTask(Details, frozen=True):
    """Somebody is to do something about it."""

    incident: Count
    person: Name
    due: At | None
    words: Digest


class IncidentEndTask(Details, frozen=True):
    """It is done, or dropped."""

    incident: Count
    task: Count
    state: Annotated[str, Meta(pattern=r"^(done|dropped)\Z")]
    words: Digest | None


class IncidentHand(Details, frozen=True):
    """Ask another person to take it over."""

    incident: Count
    to: Name
    words: Digest | None


class IncidentRaise(Details, frozen=True):
    """It is worse than it was taken for."""

    incident: Count
    severity: Severity
    reason: Text


class IncidentSerious(Details, frozen=True):
    """A person's mark with legal consequence (Article 73): nothing is changed before an authority was informed."""

    incident: Count
    reason: Text


class IncidentInform(Details, frozen=True):
    """An authority was informed, `at` when; `complete` false: a first report, more follows."""

    incident: Count
    authority: Text
    at: At
    complete: bool
    words: Digest | None


class IncidentMerge(Details, frozen=True):
    """It is the same failure as another one."""

    incident: Count
    into: Count
    reason: Text


class IncidentReopen(Details, frozen=True):
    """It is not over."""

    incident: Count
    reason: Text


class IncidentResolve(Details, frozen=True):
    """Nothing more goes wrong, and it is known why: what is left is to learn from it."""

    incident: Count
    reason: Text


class IncidentPropose(Details, frozen=True):
    """What takes a second person: a lower severity (`value`), a false alarm, that nothing is changed, not serious."""

    incident: Count
    what: Annotated[str, Meta(pattern=r"^(severity|false-alarm|none|not-serious)\Z")]
    value: Annotated[str, Meta(pattern=r"^(minor|major|critical|-)\Z")]
    reason: Text


class IncidentAgree(Details, frozen=True):
    """A second person agrees. `proposal` is the digest of the proposing order (`order_digest`)."""

    incident: Count
    proposal: Digest


class IncidentClaim(Details, frozen=True):
    """Something was changed so that it does not happen again: claimed, not proven."""

    incident: Count
    change: Annotated[str, Meta(pattern=r"^(contract|tool|prompt|model|roster|training|other)\Z")]
    words: Digest


class IncidentClose(Details, frozen=True):
    """What was learned is in force, and nothing is open any more."""

    incident: Count


class CustomerTell(Details, frozen=True):
    """A customer (token) was told what happened to them. `shown` is an entry by which it happened to them."""

    incident: Count
    customer: Annotated[str, Meta(pattern=r"^c-[0-9a-f]{32}\Z")]
    shown: Seq
    how: Annotated[str, Meta(pattern=r"^(mail|phone|letter|message|meeting|other)\Z")]
    words: Digest


class CustomerRestore(Details, frozen=True):
    """A customer (token) was made whole, or needed nothing. `shown` as above."""

    incident: Count
    customer: Annotated[str, Meta(pattern=r"^c-[0-9a-f]{32}\Z")]
    shown: Seq
    words: Digest


class WorkEnd(Details, frozen=True):
    """What became of a run that a stopped agent left."""

    incident: Count
    run: Seq
    state: Annotated[str, Meta(pattern=r"^(taken|finished|dropped)\Z")]
    words: Digest | None


class HoldPlace(Details, frozen=True):
    """Lock the record of an agent, or without one all of it."""

    agent: AgentId | None
    incident: Count | None
    reason: Text


class HoldPropose(Details, frozen=True):
    """Let go of a hold."""

    hold: Count
    reason: Text


class HoldLift(Details, frozen=True):
    """A second person agrees. `proposal` is the digest of the proposing order (`order_digest`)."""

    hold: Count
    proposal: Digest


class RunStop(Details, frozen=True):
    """Stop what runs in a run and in those it was handed over to; nothing new starts in them."""

    run: Seq
    reason: Text


class ActionStop(Details, frozen=True):
    """Stop one running action."""

    action: Seq
    reason: Text


class IncidentEscalate(Details, frozen=True):
    """Somebody else is to take it, now: the next step of its path."""

    incident: Count
    reason: Text


class TeamCover(Details, frozen=True):
    """`person` is on call for a team from `since` until `until`, for `instead_of` or (None) beside whoever is."""

    team: Name
    person: Name
    instead_of: Name | None
    since: At
    until: At


class TeamUncover(Details, frozen=True):
    """A cover (its entry) ends, or does not begin."""

    cover: Seq


class ChannelAsk(Details, frozen=True):
    """Send something by this channel to a person, by which they show that they are reached. `channel` is email or one
    that the settings declare.
    """

    channel: Name
    person: Name


class ChannelConfirm(Details, frozen=True):
    """It arrived. The code from the message is given beside the order: it never enters the record."""

    channel: Name
    person: Name


class DigestReceive(Details, frozen=True):
    """The person has read what their digest says."""

    digest: Count


class DueBy(Details, frozen=True):
    """One deadline of a duty, as whoever says that it applies was shown it."""

    deadline: Name
    at: At
    incomplete: bool


class ClockStart(Details, frozen=True):
    """A duty to inform applies to an incident, as the data file `data` (its digest) says it; known of since `aware`."""

    incident: Count
    clock: Name
    data: Digest
    aware: At
    deadlines: Annotated[tuple[DueBy, ...], Meta(min_length=1, max_length=16)]


class ClockMeet(Details, frozen=True):
    """Whom a deadline is about was informed: `told`, `at` when; `complete` false: more follows."""

    incident: Count
    clock: Name
    deadline: Name
    told: Text
    at: At
    complete: bool
    words: Digest | None


class ClockEnd(Details, frozen=True):
    """The duty does not apply after all, says another person than the one who started it."""

    incident: Count
    clock: Name
    reason: Text


class NodeStop(Details, frozen=True):
    """End the node; everything that runs is stopped first."""

    reason: Text


class LedgerRotate(Details, frozen=True):
    """A new checkpoint key: `key` is the vkey in force, `reason` why it is replaced."""

    key: VKey
    reason: Text


class LedgerContinue(Details, frozen=True):
    """Go on under a new origin after entries were lost: what is there (`size`, `root`), what the guard had signed."""

    size: Count
    root: Digest
    lost_size: Seq | None
    lost_root: Digest | None
    reason: Text


class Power(msgspec.Struct, frozen=True, kw_only=True):
    """What an order of one kind may do.

    `restricts`: takes effect at once, in any state of health. `persons_needed` counts the person of the
    order that this one must follow (`follows`). `good_for_us`: how long after signing it may be used.
    """

    details: type[Details]
    restricts: bool = False
    persons_needed: int = 1
    follows: str | None = None
    good_for_us: int = HOUR_US


# INVARIANT (I7): the closed set of human powers. A kind that is not here cannot be spelled, signed or
# accepted.
POWERS: MappingProxyType[str, Power] = MappingProxyType(
    {
        "init": Power(details=Init),
        "person.enrol": Power(details=PersonEnrol),
        "contact.ask": Power(details=ContactAsk),
        "contact.verify": Power(details=ContactVerify),
        "person.leave": Power(details=PersonLeave, restricts=True),
        "host.register": Power(details=HostRegister),
        "agent.register": Power(details=AgentRegister),
        "agent.assign": Power(details=AgentAssign),
        "agent.group": Power(details=AgentGroup),
        "agent.rekey": Power(details=AgentRekey),
        "agent.revoke": Power(details=AgentRevoke, restricts=True),
        "agent.observe": Power(details=AgentObserve),
        "agent.govern": Power(details=AgentGovern, restricts=True),
        "contract.sign": Power(details=ContractSign, good_for_us=MONTH_US),
        "contract.adopt": Power(details=ContractAdopt, persons_needed=2, follows="contract.sign"),
        "floor.sign": Power(details=FloorSign, good_for_us=MONTH_US),
        "floor.adopt": Power(details=FloorAdopt, persons_needed=2, follows="floor.sign"),
        "config.apply": Power(details=ConfigApply),
        "ticket.approve": Power(details=TicketApprove),
        "ticket.deny": Power(details=TicketDeny, restricts=True),
        "agent.suspend": Power(details=AgentSuspend, restricts=True),
        "stop": Power(details=StopScope, restricts=True),
        "stop.propose": Power(details=LiftPropose),
        "stop.lift": Power(details=LiftApprove, persons_needed=2, follows="stop.propose"),
        "action.compensate": Power(details=ActionCompensate),
        "incident.acknowledge": Power(details=IncidentAcknowledge),
        "release.propose": Power(details=ReleasePropose),
        "release.approve": Power(details=ReleaseApprove, persons_needed=2, follows="release.propose"),
        "release.break": Power(details=ReleaseBreak),
        "release.review": Power(details=ReleaseReview),
        "incident.report": Power(details=IncidentReport, restricts=True),
        "incident.note": Power(details=IncidentNote),
        "incident.task": Power(details=IncidentGiveTask),
        "incident.finish": Power(details=IncidentEndTask),
        "incident.hand": Power(details=IncidentHand),
        "incident.raise": Power(details=IncidentRaise, restricts=True),
        "incident.serious": Power(details=IncidentSerious, restricts=True),
        "incident.inform": Power(details=IncidentInform),
        "incident.merge": Power(details=IncidentMerge),
        "incident.reopen": Power(details=IncidentReopen, restricts=True),
        "incident.resolve": Power(details=IncidentResolve),
        "incident.propose": Power(details=IncidentPropose),
        "incident.agree": Power(details=IncidentAgree, persons_needed=2, follows="incident.propose"),
        "incident.claim": Power(details=IncidentClaim),
        "incident.close": Power(details=IncidentClose),
        "customer.tell": Power(details=CustomerTell),
        "customer.restore": Power(details=CustomerRestore),
        "work.end": Power(details=WorkEnd),
        "hold.place": Power(details=HoldPlace, restricts=True),
        "hold.propose": Power(details=HoldPropose),
        "hold.lift": Power(details=HoldLift, persons_needed=2, follows="hold.propose"),
        "run.stop": Power(details=RunStop, restricts=True),
        "action.stop": Power(details=ActionStop, restricts=True),
        "incident.escalate": Power(details=IncidentEscalate, restricts=True),
        "team.cover": Power(details=TeamCover),
        "team.uncover": Power(details=TeamUncover),
        "channel.ask": Power(details=ChannelAsk),
        "channel.confirm": Power(details=ChannelConfirm),
        "digest.receive": Power(details=DigestReceive),
        "clock.start": Power(details=ClockStart),
        "clock.meet": Power(details=ClockMeet),
        "clock.end": Power(details=ClockEnd),
        "node.stop": Power(details=NodeStop, restricts=True),
        "ledger.rotate": Power(details=LedgerRotate),
        "ledger.continue": Power(details=LedgerContinue),
    }
)

D = TypeVar("D", bound=Details)


class Order(msgspec.Struct, Generic[D], frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One order for ledger `origin`, signed `at` (the person's clock) over `shown` (digest of the sight)."""

    order: str
    origin: Origin
    person: Name
    nonce: Nonce
    at: At
    shown: Digest
    details: D

    def __post_init__(self) -> None:
        power = POWERS.get(self.order)
        if power is None:
            raise ValueError(f"there is no order of kind {self.order!r}")
        if type(self.details) is not power.details:
            raise ValueError(f"an order {self.order} carries {power.details.__name__} and nothing else")
        parse_at(self.at)

    @property
    def power(self) -> Power:
        """The row of the table of powers that this order uses."""
        return POWERS[self.order]


class SignedOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An order's canonical text, the signing key's id (first 16 hex of its SHA-256) and the signature."""

    order: str
    key: KeyId
    signature: Signature


_ENCODER = msgspec.json.Encoder(order="sorted")
_SIGNED = msgspec.json.Decoder(SignedOrder)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(Order[power.details])  # type: ignore[name-defined]
    for kind, power in POWERS.items()
}


class _Peek(msgspec.Struct):
    order: str


_PEEK = msgspec.json.Decoder(_Peek)


def parse_order(text: str | bytes) -> Order[Any]:
    """The order that `text` (canonical JSON) is the one spelling of.

    Raises InputError for unknown kinds, unknown, missing, duplicate or malformed fields, or another spelling.
    """
    data = _bytes(text, MAX_ORDER_BYTES)
    try:
        kind = _PEEK.decode(data).order
        decoder = _DECODERS.get(kind)
        if decoder is None:
            raise InputError(f"there is no order of kind {kind[:64]!r}")
        order: Order[Any] = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InputError(f"the order does not decode: {error}") from error
    # One order, one spelling: refuses duplicate keys (a reader that takes the other one sees another order).
    _same(_ENCODER.encode(order), data, "order")
    return order


def order_bytes(order: Order[Any]) -> bytes:
    """Canonical JSON of an order, proved to be accepted by `parse_order` and to say the same.

    Raises InputError when a field is malformed: an order that would be refused is never signed.
    """
    try:
        data = _ENCODER.encode(order)
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise InputError(f"the order does not encode: {error}") from error
    if parse_order(data) != order:
        raise InputError("the order does not say the same once encoded")
    return data


def order_digest(order: Order[Any]) -> str:
    """Hex SHA-256 of the canonical order: how a later order cites this one."""
    return hashlib.sha256(order_bytes(order)).hexdigest()


def shown_digest(shown: bytes) -> str:
    """Hex SHA-256 of the canonical bytes of what the person was shown."""
    return hashlib.sha256(shown).hexdigest()


def encode_signed(signed: SignedOrder) -> bytes:
    """Canonical JSON of a signed order, for the socket and for the files in `orders/`."""
    return _ENCODER.encode(signed)


def parse_signed(data: str | bytes) -> SignedOrder:
    """The signed order that `data` is the one spelling of; the signature is not yet verified.

    Raises InputError for anything but the three well-formed fields.
    """
    raw = _bytes(data, 2 * MAX_ORDER_BYTES)
    try:
        signed = _SIGNED.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InputError(f"the signed order does not decode: {error}") from error
    _same(_ENCODER.encode(signed), raw, "signed order")
    return signed


def check_order(order: Order[Any], *, origin: str, shown: str | None, now_us: int, used: Callable[[str], bool]) -> None:
    """Hold a verified order against where and when it is used.

    `origin` is this ledger's; `shown` the digest of what this ledger shows for it (an order that permits is
    refused where there is none); `now_us` is UTC in microseconds since the epoch; `used` says whether a nonce
    was seen. An order that restricts is held only against its ledger and its nonce.

    Raises Refused: another ledger's order, a replay, something else than was shown, a stale permission.
    """
    if order.origin != origin:
        raise Refused(f"the order is for ledger {order.origin}, this is {origin}")
    if used(order.nonce):
        raise Refused(
            f"the order {order.order} of {order.person} was used before", hint="Sign a new one.", code="replayed"
        )
    if order.power.restricts:
        return  # I8: neither a changed sight nor a wrong clock delays a stop
    if order.shown != shown:
        raise Refused("the order was signed over something else than stands now", hint="Look and sign again.")
    age_us = now_us - parse_at(order.at)
    if age_us > order.power.good_for_us or -age_us > MAX_AHEAD_US:
        minutes = order.power.good_for_us // MINUTE_US
        raise Refused(
            f"the order {order.order} was signed at {order.at} and is good for {minutes} minutes from then",
            hint="Compare the clocks of the person's machine and of the node, and sign a new one.",
        )


def check_pair(first: Order[Any], second: Order[Any]) -> None:
    """Hold the second person's order against the one it follows: same ledger, same thing, another person.

    Raises Refused. That the two persons use two keys is checked where keys are known.
    """
    wanted = second.power.follows
    if wanted is None or first.order != wanted:
        raise Refused(f"an order {second.order} does not follow an order {first.order}")
    cited = second.details.proposal if isinstance(second.details, ReleaseApprove) else second.details.signed
    if first.origin != second.origin or cited != order_digest(first):
        raise Refused(f"the order {second.order} cites another order than this {first.order}")
    for field in ("incident", "agent", "contract", "floor", "version", "digest"):
        if getattr(first.details, field, None) != getattr(second.details, field, None):
            raise Refused(f"the two orders differ in {field}")
    if first.person == second.person:
        raise Refused(f"{second.order} needs a second person; {second.person} gave both orders")


def _bytes(text: str | bytes, limit: int) -> bytes:
    try:
        data = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise InputError("the order holds a lone surrogate") from error
    if len(data) > limit:
        raise InputError(f"the order takes {len(data)} bytes, at most {limit} are allowed")
    return data


def _same(encoded: bytes, given: bytes, what: str) -> None:
    if encoded != given:
        raise InputError(f"the {what} is not spelled canonically")
