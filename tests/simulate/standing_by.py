"""A process that stands by for a node: `failwell serve --standby`, unchanged but for the self-test (`shown_node`).

Run as `python -m tests.simulate.standing_by WORKSPACE SELF_TEST`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from failwell.cli.main import _main
from tests.simulate.shown_node import reuse_self_test

if __name__ == "__main__":
    reuse_self_test(Path(sys.argv[2]))
    sys.exit(_main(["serve", "--standby", "--json", "--workspace", sys.argv[1]]))
