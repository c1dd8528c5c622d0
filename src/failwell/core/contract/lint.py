"""`load` and `lint`: a contract's text to a contract, or to everything that its author should know.

Reading (`document`, `reader`, `examples`) and meaning (`checks`) are elsewhere; no file is opened here.
"""

from __future__ import annotations

from failwell.core.contract.checks import note_problems
from failwell.core.contract.document import Misread, Node, read_document
from failwell.core.contract.example_checks import note_examples
from failwell.core.contract.examples import Example, read_examples
from failwell.core.contract.finding import BrokenContract, Finding, errors_of
from failwell.core.contract.model import Contract
from failwell.core.contract.notes import Notes
from failwell.core.contract.reader import read_contract


def load(text: str, *, name: str) -> Contract:
    """Return the contract of a YAML text; `name` is the file that messages show.

    Raises BrokenContract (a ContractError) with all `findings` if there is any error.
    """
    return load_whole(text, name=name)[0]


def load_whole(text: str, *, name: str) -> tuple[Contract, tuple[Example, ...]]:
    """Return the contract of a YAML text and its examples, which are no part of it; BrokenContract as `load`."""
    contract, examples, findings = _read(text, name, None)
    if contract is None or errors_of(findings):
        what = f"contract {name}" if contract is None else f"contract {contract.contract} v{contract.version}"
        raise BrokenContract(what, findings)
    return contract, examples


def lint(text: str, *, name: str, today: str | None = None) -> tuple[Finding, ...]:
    """Return everything to say about a contract's text, in order of place; empty means: nothing to mend.

    `today` is the UTC day `YYYY-MM-DD`, to say whether the contract is over already; None: not asked.
    """
    return _read(text, name, today)[2]


def open_text(text: str, notes: Notes) -> Node | None:
    """The root of a text, which `notes` then knows; None after noting why it cannot be read."""
    try:
        notes.root = read_document(text)
    except Misread as error:
        notes.add_at("error", error.line, error.column, "The text cannot be read.", f"{error.message}.", error.mend)
    return notes.root


def _read(text: str, name: str, today: str | None) -> tuple[Contract | None, tuple[Example, ...], tuple[Finding, ...]]:
    notes = Notes(text, name)
    root = open_text(text, notes)
    if root is None:
        return None, (), tuple(notes.findings)
    contract: Contract | None = None
    examples: tuple[Example, ...] = ()
    with notes.until_enough():
        contract = read_contract(root, notes)
        examples = read_examples(root, notes)
        if contract is not None:
            note_problems(contract, notes)
            note_examples(contract, examples, notes)
            _note_over(contract, notes, today)
    return contract, examples, notes.in_order()


def _note_over(contract: Contract, notes: Notes, today: str | None) -> None:
    until = None if contract.valid is None else contract.valid.until
    if today is not None and until is not None and until <= today and not errors_of(notes.findings):
        reason = f"It ended at the start of {until} (UTC): everything is denied."
        notes.add("warning", notes.place("valid", "until"), "The contract is over.", reason, "Write a later day.")
