"""A tool that holds a secret (SHOP_KEY) and gives it away, as its argument `text` says. Standard library only."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.parse

KEY = os.environ.get("SHOP_KEY", "")


def spelled() -> str:
    """The secret in each spelling, one a line."""
    raw = KEY.encode()
    lines = [
        KEY, urllib.parse.quote(KEY, safe=""), json.dumps(KEY), json.dumps(json.dumps(KEY)), raw.hex(), raw.hex(":"),
        *(base64.b64encode(b"user:pass"[:before] + raw).decode() for before in range(3)),
        base64.encodebytes(b"x" * 60 + raw).decode(), base64.urlsafe_b64encode(raw).decode(), repr(raw),
    ]  # fmt: skip
    return "\n".join(lines)


def in_pieces() -> None:
    for letter in KEY:
        os.write(1, letter.encode())
        time.sleep(0.002)


def family() -> None:
    """Children that have it on their command line and in their environment, and nothing that ends."""
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)", KEY])
    time.sleep(60)


def main() -> None:
    how = json.load(sys.stdin).get("text", "")
    if how == "spelled":
        print(spelled())
    elif how == "pieces":
        in_pieces()
    elif how == "fails":
        print(spelled())
        sys.exit(f"cannot log in with {KEY}")
    elif how == "dies":
        os.write(1, b"." * 50 + KEY[:-3].encode())
        os.write(2, KEY[:-3].encode())
        os.kill(os.getpid(), 9)
    elif how == "cut":
        os.write(1, (b"." * 99 + KEY.encode()) * 20)
    elif how in ("sleeps", "family"):
        print(spelled(), KEY[:-2], end="", flush=True)
        family()
    elif how == "environment":
        print(json.dumps({name: value for name, value in os.environ.items() if name != "SHOP_KEY"}), bool(KEY))
    elif how == "which":
        print(subprocess.run(["sh", "-c", "command -v helper"], capture_output=True, text=True, check=False).stdout)
    else:
        print(KEY)


if __name__ == "__main__":
    main()
