"""Orders left in the workspace: which troubles of the machine keep one there, and what puts it away."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from failwell.core import orders
from failwell.core.errors import Corrupt, FailwellError, InputError, Refused, Unhealthy
from failwell.core.orders import SignedOrder
from failwell.identity import keys
from failwell.identity.persons import Signer, sign_order
from failwell.node import left_orders
from failwell.node.left_orders import Mailbox


@pytest.fixture
def box(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path, lambda: time.time_ns() // 1000)


def left(directory: Path) -> Path:
    order = orders.Order(
        order="stop", origin="failwell.test/house", person="quan", nonce="1" * 32, at="2026-11-23T12:00:00.000000Z",
        shown="0" * 64, details=orders.StopScope(scope="all", reason="it looks wrong"),
    )  # fmt: skip
    return left_orders.leave(directory, sign_order(Signer("quan", keys.from_seed(b"q" * 32)), order))


def answering(error: Exception | None) -> Callable[[SignedOrder], Future[int]]:
    def carry_out(signed: SignedOrder) -> Future[int]:
        done: Future[int] = Future()
        done.set_exception(error) if error is not None else done.set_result(1)
        return done

    return carry_out


@pytest.mark.parametrize(
    "error", [Unhealthy("the disk is full"), Corrupt("it does not fold"), FailwellError("?"), OSError("?")], ids=str
)
def test_an_order_that_nobody_judged_stays_and_nothing_starts_before_it(
    tmp_path: Path, box: Mailbox, error: Exception
) -> None:
    """Attack: break the record, and the stop that nobody can carry out now is put away as refused."""
    path = left(tmp_path)
    box.take(answering(error))
    assert path.exists()
    assert box.unread()
    time.sleep(left_orders.RETRY_S)
    box.take(answering(None))
    assert path.with_suffix(left_orders.TAKEN).exists()
    assert not box.unread()


@pytest.mark.parametrize("error", [Refused("no"), InputError("no")], ids=str)
def test_an_order_that_was_judged_is_put_away(tmp_path: Path, box: Mailbox, error: Exception) -> None:
    path = left(tmp_path)
    box.take(answering(error))
    assert path.with_suffix(left_orders.REFUSED).exists()
    assert not box.unread()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO], ids=errno.errorcode.get)
def test_an_order_that_the_machine_cannot_open_now_is_read_later(
    tmp_path: Path, box: Mailbox, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: take all descriptors, and the stop in the workspace counts as a file that holds no order."""
    path, honest = left(tmp_path), os.open

    def failing(file: Any, *more: Any, **named: Any) -> int:
        if str(file).endswith(left_orders.SUFFIX):
            raise OSError(number, os.strerror(number))
        return honest(file, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        box.take(answering(None))
        assert path.exists()
        assert box.unread()
    time.sleep(left_orders.RETRY_S)
    box.take(answering(None))
    assert path.with_suffix(left_orders.TAKEN).exists()
