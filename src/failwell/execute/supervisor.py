"""The small process that each supervised tool runs under: starts it, carries its bytes, stops it, confirms.

Run as `python -I -S supervisor.py FD`, FD being one end of a socket pair to the node (design D27). Standard
library only; no import of the package, so that it starts in milliseconds and has nothing else to fail.
On an order, the deadline, SIGTERM, or the node's death it stops all descendants to a fixpoint, kills them and
confirms that none is left: the kernel must say that it has no child to wait for. It never blocks on a tool or
on the node. It does not decide anything about permission, and does not retry.
"""

from __future__ import annotations

import os
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
if TYPE_CHECKING or __package__:
    from failwell.execute.family import NAMES_LIMIT, Family
    from failwell.execute.frames import FrameReader, as_integer, as_list, as_object, encode_frame
    from failwell.execute.handing import receive, take_two
    from failwell.execute.judging import Captured, Facts, judge_end, split_status
    from failwell.execute.processes import boottime_us
    from failwell.execute.reports import SCHEMA, report_path, write_atomically
    from failwell.execute.snapshot import take_snapshot
    from failwell.execute.start import WALL, Started, become_opaque, become_subreaper, describe_error, start_tool
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # last: nothing of ours shadows the library
    from family import NAMES_LIMIT, Family
    from frames import FrameReader, as_integer, as_list, as_object, encode_frame
    from handing import receive, take_two
    from judging import Captured, Facts, judge_end, split_status
    from processes import boottime_us
    from reports import SCHEMA, report_path, write_atomically
    from snapshot import take_snapshot
    from start import WALL, Started, become_opaque, become_subreaper, describe_error, start_tool

READ_BYTES = 256 * 1024
ERRORS_TAIL_BYTES = 8 * 1024
LINGER_US = 10_000_000
ORDERED, DEADLINE, NODE_GONE, TERMINATED = "ordered", "deadline", "the node is gone", "SIGTERM"


class Supervisor:
    """One launch from its order to its result."""

    def __init__(self, control: int, leave: Callable[[], None] = lambda: None) -> None:
        """`leave`: what one that stood by does before it starts anything."""
        self._control = control
        self._leave = leave
        self._reader = FrameReader()
        self._outgoing = bytearray()
        self._signals, self._wakeup = os.pipe()
        self._terminated = False
        self._node_gone = False
        self._acknowledged = False
        self._kill_ordered = False
        self._frozen = False
        self._reported = False
        self._node = -1
        self._launch: dict[str, object] = {}
        self._stdin = b""
        self._handles: list[int] = []
        self._tool: Started | None = None
        self._status: int | None = None
        self._refused: bytes | None = None
        self._started_us = 0
        self._captured = Captured(0, ERRORS_TAIL_BYTES)
        self._snapshot = b""
        self._family = Family(self._reap)
        self._open: set[int] = set()

    # -- the whole of it ---------------------------------------------------------------------------

    def run(self) -> None:
        """Do one launch."""
        self._arm()
        while not self._launch and not self._must_stop():
            self._turn(None)
        if self._must_stop() or self._frozen or os.getppid() != self._launch["node"]:
            return  # nothing was started, and the node knows: we have not said "starting"
        told = (lambda data: self._say({"kind": "output"}, data)) if self._launch["passing"] is True else None
        self._captured = Captured(as_integer(self._launch["output_cap_bytes"]), ERRORS_TAIL_BYTES, told)
        self._leave()
        self._say({"kind": "starting"})
        if self._outgoing or self._node_gone:
            return  # INVARIANT: no tool starts whose start the node could not learn of
        refused = self._start()
        reason = None if refused else self._watch()
        result = self._finish(reason, refused)
        self._deliver(result)

    def _arm(self) -> None:
        become_subreaper()
        become_opaque()
        try:
            self._node = os.pidfd_open(os.getppid())
        except OSError:
            self._node = -1  # a kernel before 5.3, or a node that is gone: the socket's end tells us
        os.set_blocking(self._control, False)
        os.set_inheritable(self._control, False)
        for fd in (self._signals, self._wakeup):
            os.set_blocking(fd, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    def _on_terminate(self, _number: int, _frame: object) -> None:
        self._terminated = True

    def _start(self) -> str | None:
        """Start the tool; gives why nothing was started, None if something was."""
        launch = self._launch
        self._started_us = boottime_us()
        cgroup = None
        try:
            place = None if launch["cgroup"] is None else str(launch["cgroup"])
            cgroup = self._family.prepare(place, as_integer(launch["node"]))
            tool = start_tool(
                [str(part) for part in as_list(launch["command"])],
                None if launch["cwd"] is None else str(launch["cwd"]),
                {str(key): str(value) for key, value in as_object(launch["env"]).items()},
                limits=as_object(launch["limits"]),
                namespace=launch["pid_namespace"] is True,
                cgroup=cgroup,
                stdio=take_two(self._handles) if launch["stdio"] is True else None,
            )
        except (OSError, ValueError) as error:
            return describe_error(error)
        finally:
            if cgroup is not None:
                os.close(cgroup)
        self._tool = tool
        self._family.started(None if tool.status is None else tool.pid)
        self._open = {fd for fd in (tool.stdin, tool.output, tool.errors, tool.refused) if fd >= 0}
        if tool.status is not None:
            self._open.add(tool.status)
        self._say({"kind": "started", "pid": tool.pid})
        return None

    def _must_stop(self) -> str | None:
        if self._kill_ordered:
            return ORDERED
        if self._terminated:
            return TERMINATED
        return NODE_GONE if self._node_gone else None

    def _watch(self) -> str | None:
        """Carry bytes until the tool has ended by itself (None) or has to be stopped (the reason)."""
        allowed = self._launch["deadline_us"]
        until = None if allowed is None else self._started_us + as_integer(allowed)
        while True:
            reason = self._must_stop()
            if self._status is not None:
                return None if reason == NODE_GONE else reason
            if reason is not None:
                return reason
            now = boottime_us()
            if until is not None and now >= until:
                return DEADLINE
            due = [at - now for at in (until, self._captured.pass_on(now)) if at is not None]
            self._turn(min(due, default=None))

    # -- input and output, never blocking ----------------------------------------------------------

    def _turn(self, wait_us: int | None) -> None:
        """Wait until something can be read or written, and do that."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        if not self._node_gone:
            poll.register(self._control, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
            if self._node >= 0:
                # A process that the node forked may hold the node's socket open after its death.
                poll.register(self._node, select.POLLIN)
        for fd in self._open:
            is_stdin = self._tool is not None and fd == self._tool.stdin
            poll.register(fd, select.POLLOUT if is_stdin else select.POLLIN)
        ready = [fd for fd, _ in poll.poll(None if wait_us is None else wait_us / 1000 + 1)]
        for fd in ready:
            if fd == self._signals:
                os.read(fd, 4096)
                self._reap()
            elif fd == self._control:
                self._hear()
                self._flush()
            elif fd == self._node:
                self._node_gone = True
            elif fd in self._open:  # collecting a child above may have drained and closed it
                self._carry(fd)

    def _hear(self) -> None:
        """Read orders; the end of the socket is the node's death."""
        try:
            data, handles = receive(self._control, 1024 * 1024)
            self._handles += handles
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._node_gone = True
            return
        self._reader.feed(data)
        while (frame := self._reader.take()) is not None:
            header, blobs = frame
            kind = header.get("kind")
            if kind == "launch" and not self._launch:
                self._launch, self._stdin = header, blobs[0]
            elif kind == "freeze":
                self._frozen = True
                self._family.freeze()
            elif kind == "kill":
                self._kill_ordered = True
            elif kind == "acknowledged":
                self._acknowledged = True

    def _say(self, header: dict[str, object], *blobs: bytes) -> None:
        self._outgoing += encode_frame(header, *blobs)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing and not self._node_gone:
                del self._outgoing[: os.write(self._control, self._outgoing)]
        except BlockingIOError:
            return
        except OSError:
            self._node_gone = True

    def _carry(self, fd: int) -> None:
        """Move bytes of one pipe, or close our end of it when its other end is gone."""
        tool = self._tool
        if tool is None:
            return
        try:
            if fd == tool.stdin:
                self._stdin = self._stdin[os.write(fd, self._stdin[:65536]) :] if self._stdin else b""
                more = bool(self._stdin)
            else:
                more = self._take(fd, tool)
        except BlockingIOError:
            return
        except OSError:
            more = False
        if not more:
            self._open.discard(fd)
            os.close(fd)

    def _take(self, fd: int, tool: Started) -> bool:
        data = os.read(fd, READ_BYTES)
        if fd == tool.output:
            self._captured.add_output(data)
        elif fd == tool.errors:
            self._captured.add_errors(data)
        elif fd == tool.refused and data:
            self._refused = (self._refused or b"") + data
        elif fd == tool.status and len(data) == 4:
            self._status = int.from_bytes(data, "big")
        return bool(data)

    # -- the end -----------------------------------------------------------------------------------

    def _reap(self) -> bool:
        """Collect ended children; True when the kernel says that there is no child at all, dead or alive.

        With PR_SET_CHILD_SUBREAPER every living descendant hangs below a child of ours, whatever it forked or
        whichever session it opened, so "no child" proves "no descendant" without a race.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | WALL)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if self._tool is not None and pid == self._tool.pid:
                self._collected(status)

    def _collected(self, status: int) -> None:
        if self._tool is not None and self._tool.status is None:
            self._status = status
            return
        self._drain()
        if self._status is None:
            self._status = status  # the namespace's init was killed, and everything in it with it

    def _drain(self) -> None:
        """Take what still lies in the pipes, without waiting: another process may hold them open for ever."""
        for fd in sorted(self._open):
            self._drain_one(fd)

    def _drain_one(self, fd: int) -> None:
        if self._tool is not None and fd == self._tool.stdin:
            return
        for _ in range(16):
            if fd not in self._open or not select.select([fd], [], [], 0)[0]:
                break
            self._carry(fd)

    def _finish(self, reason: str | None, refused: str | None) -> dict[str, object]:
        """Stop what is left, and say what came of the launch."""
        if self._tool is not None and self._tool.status in self._open:
            self._drain_one(self._tool.status)  # not the output: a tool that writes without end would gain time
        alone = self._status is not None
        clean = self._family.stop(lambda still: self._preserve(still, reason))
        self._family.leave()
        self._drain()
        if self._refused is not None:
            refused = self._refused.decode("utf-8", "replace")
        facts = Facts(
            reason=reason,
            refused=refused,
            status=self._status,
            alone=alone,
            clean=clean,
            left=self._family.left,
            limits=as_object(self._launch["limits"]),
        )
        state, why = judge_end(facts)
        code, number = split_status(None if state == "blocked" else self._status)
        swept = self._family.swept
        return {
            "kind": "ended",
            "supervisor": os.getpid(),
            "action": self._launch["action"],
            "agent": self._launch["agent"],
            "tool": self._launch["tool"],
            "state": state,
            "exit_code": code,
            "signal": number,
            "truncated": self._captured.truncated,
            "started_us": self._started_us,
            "ended_us": boottime_us(),
            "swept": 0 if state == "blocked" else len(swept),
            "proven_by": self._family.proof(clean),
            "why": why,
            "sweep_us": self._family.took_us,
            "processes": [stat.describe() for stat in swept[:NAMES_LIMIT]],
        }

    def _preserve(self, still: bool, reason: str | None) -> None:
        """Keep how it was just before the kill, for a node that is there to take it.

        It goes nowhere else: arguments, paths and output may hold secrets, and a report on disk lies there in clear.
        """
        if not self._node_gone and self._family.swept:
            self._drain()
            self._snapshot = take_snapshot(
                self._family.swept,
                still=still,
                reason=reason,
                output=self._captured.tail,
                errors=bytes(self._captured.errors),
            )

    def _deliver(self, result: dict[str, object]) -> None:
        """Hand the result to the node; where it does not take it, leave a report.

        Nothing of the tool runs any more, so waiting here is harmless, and still bounded: a node that is
        stopped or wedged may never read.
        """
        self._say(result, bytes(self._captured.output), bytes(self._captured.errors), self._snapshot)
        until = boottime_us() + LINGER_US
        while not (self._acknowledged or self._node_gone):
            if self._terminated:
                self._report(result)
            left = until - boottime_us()
            if left <= 0:
                break
            self._turn(left)
        if self._terminated or not self._acknowledged:
            self._report(result)

    def _report(self, result: dict[str, object]) -> None:
        if self._reported:
            return
        self._reported = True
        body = {key: value for key, value in result.items() if key != "kind"}
        path = report_path(str(self._launch["report_dir"]), as_integer(result["action"]))
        try:
            write_atomically(path, {"schema": SCHEMA, **body}, durable=True)
        except OSError as error:  # a full disk: the result still goes to the node, if there is one
            os.write(2, f"supervisor: no report at {path}: {error.strerror}\n".encode())


def main(control: int) -> None:
    """Supervise one launch that arrives over the given socket."""
    os.chdir("/")
    Supervisor(control).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
