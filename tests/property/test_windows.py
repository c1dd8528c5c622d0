"""A window against a plain list: whatever is added, given back, let go of and fetched again, it counts and adds the
same."""

from __future__ import annotations

from random import Random

from failwell.core.windows import NEVER, Window

AMOUNTS = ((1,), (1,), (0, 1, 5), (2**53 - 1, 1))


def test_a_window_is_a_list_of_what_was_reserved(seed: int) -> None:
    rng = Random(f"windows {seed}")
    for _ in range(150):
        amounts = rng.choice(AMOUNTS)
        window, held = Window(), list[tuple[int, int, int]]()
        now = seq = 0
        for _ in range(40):
            now, seq = now + rng.randint(0, 3), seq + 1
            what = rng.random()
            if what < 0.6:
                adds = rng.choice(amounts)
                window.reserve(now, seq, adds)
                held.append((now, seq, adds))
            elif what < 0.7 and held:
                gone = rng.choice(held)
                held.remove(gone)
                window.release(gone[1])
            elif what < 0.9:
                window.trim(now - rng.randint(0, 9), rng.randint(0, seq + 1))
            else:
                window.touched = max(window.touched, seq)
            per = rng.randint(1, 12)
            if window.reaches_us > now - per:  # what was let go of is asked of the store, up to where memory begins
                wanted = [each for each in held if now - per < each[0] <= window.reaches_us and each[1] < window.first]
                window.extend(now - per, wanted)
            young = [adds for at, _, adds in held if now - at < per]
            assert (window.used(now, per), window.total(now, per)) == (len(young), sum(young))
            assert window.held == tuple(each for each in held if each[1] >= window.first)
            assert window.first == NEVER or len(window) > 0
