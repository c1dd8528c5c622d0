"""`load` and `lint`: a contract's text to a contract, or to everything that its author should know.

Reading (`document`, `reader`) and meaning (`checks`) are elsewhere; no file is opened here.
"""

from __future__ import annotations

from failwell.core.contract.checks import note_problems
from failwell.core.contract.document import Misread, read_document
from failwell.core.contract.finding import BrokenContract, Finding, errors_of
from failwell.core.contract.model import Contract
from failwell.core.contract.notes import Notes
from failwell.core.contract.reader import read_contract


def load(text: str, *, name: str) -> Contract:
    """Return the contract of a YAML text; `name` is the file that messages show.

    Raises BrokenContract (a ContractError) with all `findings` if there is any error.
    """
    contract, findings = _read(text, name)
    if contract is None or errors_of(findings):
        what = f"contract {name}" if contract is None else f"contract {contract.contract} v{contract.version}"
        raise BrokenContract(what, findings)
    return contract


def lint(text: str, *, name: str) -> tuple[Finding, ...]:
    """Return everything to say about a contract's text, in order of place; empty means: nothing to mend."""
    return _read(text, name)[1]


def _read(text: str, name: str) -> tuple[Contract | None, tuple[Finding, ...]]:
    notes = Notes(text, name)
    try:
        notes.root = read_document(text)
    except Misread as error:
        notes.add_at("error", error.line, error.column, "The text cannot be read.", f"{error.message}.", error.mend)
        return None, tuple(notes.findings)
    contract = read_contract(notes.root, notes)
    if contract is not None:
        note_problems(contract, notes)
    return contract, tuple(sorted(notes.findings, key=lambda finding: (finding.line, finding.column)))
