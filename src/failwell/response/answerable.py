"""How a letter says that it can be answered without a key: by a link, or by a reply that begins with a code."""

from __future__ import annotations

from typing import NamedTuple

from failwell.response.letters import BEGIN, Letter

#: What stands before the code in the first line of a reply that acknowledges, proves or receives.
WORD = "ACK"


class Answerable(NamedTuple):
    """`link` is None where no door is reached from outside, `code` where no reply is read; `digest` is of the secret
    behind both, as the record holds it.
    """

    link: str | None
    code: str | None
    digest: str


def answered_by(letter: Letter, answer: Answerable) -> Letter:
    """The letter with the ways to answer it below what it asks for.

    Attack: a vacation note that quotes the letter. No line of it is one that answers: code and word stand apart.
    """
    ways = []
    if answer.link is not None:
        ways.append(f"From here: {answer.link}")
    if answer.code is not None:
        ways.append(f"By mail: answer this one, and begin with {WORD} and the code {answer.code}.")
    else:
        ways.append("By mail: nobody reads what is answered to this one.")
    if answer.link is None and answer.code is None:
        return letter
    ways.append("Whoever holds this mail can do that, so do not pass it on. It does no more than that.")
    head, _, rest = letter.text.partition("\n\n")
    if BEGIN in head:
        return letter
    return letter._replace(text="\n".join([head, *ways, "", rest]))
