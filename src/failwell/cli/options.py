"""The options that commands share, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

Workspace = Annotated[
    str | None,
    typer.Option(
        "--workspace", metavar="DIR", show_default=False,
        help="The workspace. Default: $FAILWELL_WORKSPACE, else the nearest from here upwards.",
    ),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
As = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="PERSON", show_default=False,
        help="Who signs. Default: the only person whose key is in this configuration directory.",
    ),
]  # fmt: skip
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Sign without showing what is signed and asking.")]
