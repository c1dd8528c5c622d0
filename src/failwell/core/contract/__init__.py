"""The contract: what bounds an agent, as text, as signed bytes, and as judge of every proposed action (R1,
R2).

    load, lint                       YAML text -> Contract, or findings; load_whole: with its examples
    load_floor, lint_floor           the same for a floor; floor_findings: what keeps a contract from standing on it
    to_canonical, from_canonical     Contract <-> the bytes that are signed; digest
    schema_of                        JSON Schema of either, for editors
    compile                          Contract -> Compiled, whose `judge` gives a Judgment
    parse_signal                     the signals that response rules name

DESIGN section 6, D12, D22. Not here: novelty and baselines, which arrive as facts; asking sources and
keeping count, which are the caller's.
"""

from failwell.core.contract.argument import Value, parse_type
from failwell.core.contract.checks import check
from failwell.core.contract.duration import format_duration, parse_duration
from failwell.core.contract.examples import Example, Tried, try_all
from failwell.core.contract.finding import BrokenContract, Finding
from failwell.core.contract.floor import Floor, floor_digest, floor_from_canonical, floor_to_canonical, under
from failwell.core.contract.floor_checks import floor_findings
from failwell.core.contract.floor_diff import floor_diff
from failwell.core.contract.floor_reader import check_floor, is_floor, lint_floor, load_floor
from failwell.core.contract.judge import Compiled, compile, strictest
from failwell.core.contract.judgment import (
    NOT_THE_AGENTS,
    RESERVED,
    STOPPED,
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
from failwell.core.contract.lint import lint, load, load_whole
from failwell.core.contract.looking import state_of
from failwell.core.contract.model import (
    Affects,
    Argument,
    Clause,
    Compensate,
    Contract,
    Ensure,
    Limit,
    Restricted,
    Rule,
    Step,
    Stopping,
    Tool,
    Validity,
    digest,
    from_canonical,
    to_canonical,
)
from failwell.core.contract.schema import schema_of
from failwell.core.contract.signal import COMPENSATE, Signal, parse_signal

__all__ = [
    "COMPENSATE",
    "NOT_THE_AGENTS",
    "RESERVED",
    "STOPPED",
    "UNHEALTHY",
    "Affects",
    "Argument",
    "BrokenContract",
    "Clause",
    "Compensate",
    "Compiled",
    "Contract",
    "Decided",
    "Ensure",
    "Example",
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
    "Stopping",
    "Tool",
    "Tried",
    "Use",
    "Validity",
    "Value",
    "Verdict",
    "check",
    "check_floor",
    "compile",
    "digest",
    "floor_diff",
    "floor_digest",
    "floor_findings",
    "floor_from_canonical",
    "floor_to_canonical",
    "format_duration",
    "from_canonical",
    "is_floor",
    "lint",
    "lint_floor",
    "load",
    "load_floor",
    "load_whole",
    "parse_duration",
    "parse_signal",
    "parse_type",
    "schema_of",
    "state_of",
    "strictest",
    "to_canonical",
    "try_all",
    "under",
]
