"""Where a guard is kept when nobody says otherwise, and how its place is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from failwell.core.errors import InputError
from failwell.guard.place import Place, place_of
from failwell.guard.sealing import LocalGuard

ORIGIN = "failwell/00112233aabbccdd"


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"FAILWELL_STATE": "/a/b", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/a/b"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/failwell"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/failwell"),
        ({"FAILWELL_STATE": "", "XDG_STATE_HOME": "", "HOME": "/h"}, "/h/.local/state/failwell"),
        ({"HOME": "relative"}, f"{Path.home()}/.local/state/failwell"),
    ],
)
def test_the_directory_follows_the_environment(environ: dict[str, str], root: str) -> None:
    assert place_of(ORIGIN, environ) == Path(root) / "guards" / "00112233aabbccdd"


def test_a_relative_directory_is_refused() -> None:
    with pytest.raises(InputError):
        place_of(ORIGIN, {"FAILWELL_STATE": "state"})


def test_a_name_never_leads_out_of_the_directory() -> None:
    for origin in ("a/../../b", "..", "/etc", "", "failwell/0011", "x/0011223344556677/../0011223344556677/.."):
        found = place_of(origin, {"FAILWELL_STATE": "/s"})
        assert found.parent == Path("/s/guards")
        assert found.name.isalnum()
    assert len({place_of(f"log-{number}", {"FAILWELL_STATE": "/s"}) for number in range(100)}) == 100


def test_everything_on_the_way_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    place = place_of(ORIGIN, {"XDG_STATE_HOME": str(tmp_path / "state")})
    LocalGuard.create(place, ORIGIN).close()
    while place != tmp_path:
        assert place.stat().st_mode & 0o777 == 0o700
        place = place.parent


def test_a_place_is_written_as_it_is_read() -> None:
    for line in ("/var/lib/guard", "unix:/run/guard.sock"):
        assert str(Place.parse(line)) == line
    assert Place.parse("unix:/run/g").socket == Path("/run/g")
    assert Place.parse("/g").directory == Path("/g")


@pytest.mark.parametrize("line", ["", "guard", "unix:", "unix:g", "tcp:/g", "/a\n/b", "/a\0", f"unix:/{'x' * 107}"])
def test_what_is_no_place_is_refused(line: str) -> None:
    with pytest.raises(InputError):
        Place.parse(line)
