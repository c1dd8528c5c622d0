"""`python -m failwell`: the command line. It does nothing itself."""

from __future__ import annotations

from failwell.cli.main import app_main

if __name__ == "__main__":
    app_main()
