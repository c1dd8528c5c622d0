"""`contract schema`: what an editor needs to help with a contract while it is written."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from failwell.cli import options
from failwell.cli.screen import Answer, Screen, door


@door("contract-schema")
def schema(
    floor: Annotated[bool, typer.Option("--floor", help="Of a floor instead of a contract.")] = False,
    as_json: options.AsJson = False,
) -> Answer:
    """Print the JSON Schema of a contract, for editors.

    It knows fields and words; whether a contract makes sense is what lint says.

    \b
    Example:
      failwell contract schema > contract.schema.json
    """
    from failwell.core.contract import schema_of

    found = schema_of("floor" if floor else "contract")

    def show(screen: Screen) -> None:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")

    return Answer(fields={"json_schema": found}, show=show)
