"""The contract: what bounds an agent, as text, as signed bytes, and as judge of every proposed action (R1,
R2).

    load, lint                       YAML text -> Contract, or findings
    to_canonical, from_canonical     Contract <-> the bytes that are signed; digest
    compile                          Contract -> Compiled, whose `judge` gives a Judgment
    parse_signal                     the signals that response rules name

DESIGN section 6, D12, D22. Not here: novelty, baselines, looked-up facts, sums, reviews; a contract that
asks for them is refused rather than half kept.
"""

from failwell.core.contract.argument import Value, parse_type
from failwell.core.contract.checks import check
from failwell.core.contract.duration import format_duration, parse_duration
from failwell.core.contract.finding import BrokenContract, Finding
from failwell.core.contract.floor import Floor, floor_digest, floor_from_canonical, floor_to_canonical, under
from failwell.core.contract.judge import Compiled, compile, strictest
from failwell.core.contract.judgment import (
    RESERVED,
    UNHEALTHY,
    Decided,
    Fact,
    Judgment,
    Looked,
    Proposal,
    Question,
    Situation,
    Use,
    Verdict,
)
from failwell.core.contract.lint import lint, load
from failwell.core.contract.model import (
    Affects,
    Argument,
    Clause,
    Contract,
    Limit,
    Restricted,
    Rule,
    Step,
    Tool,
    Validity,
    digest,
    from_canonical,
    to_canonical,
)
from failwell.core.contract.signal import Signal, parse_signal

__all__ = [
    "RESERVED",
    "UNHEALTHY",
    "Affects",
    "Argument",
    "BrokenContract",
    "Clause",
    "Compiled",
    "Contract",
    "Decided",
    "Fact",
    "Finding",
    "Floor",
    "Judgment",
    "Limit",
    "Looked",
    "Proposal",
    "Question",
    "Restricted",
    "Rule",
    "Signal",
    "Situation",
    "Step",
    "Tool",
    "Use",
    "Validity",
    "Value",
    "Verdict",
    "check",
    "compile",
    "digest",
    "floor_digest",
    "floor_from_canonical",
    "floor_to_canonical",
    "format_duration",
    "from_canonical",
    "lint",
    "load",
    "parse_duration",
    "parse_signal",
    "parse_type",
    "strictest",
    "to_canonical",
    "under",
]
