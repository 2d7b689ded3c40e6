"""Runs one command, and ends it when the process that asked for it is gone.

    supervise.py GRACE LOG SCRATCH COMMAND [ARGUMENT...]

The owner holds the other end of this program's standard input. While it lives it may write signal names there, one
a line (`TERM`, `KILL`, `STOP`, ...), and they are passed on. When the pipe closes, because the owner finished,
panicked or was killed, the command gets SIGTERM and, after GRACE seconds, SIGKILL. So no process outlives its owner,
however the owner ended, and signals always meet the right process: it is this program's child, so its id cannot be
reused before this program has seen it end. What the command started itself, and did not wait for, is killed after it.

The command's output is appended to LOG. SCRATCH is a folder that is locked (shared) while it is in use; when the owner
is gone, the last one out removes it. `-` stands for no such folder.

The first line of standard output is `pid N`, or `error TEXT` when the command could not be started. The exit code, or
the deadly signal, is the command's. Only the standard library, and of that only what loads fast.
"""

import fcntl
import os
import select
import signal
import sys
import time

SIGNALS = {"CONT", "HUP", "INT", "KILL", "QUIT", "STOP", "TERM", "USR1", "USR2"}
COULD_NOT_START = 127


class Wakeups:
    """Makes signals readable, so that one `select` waits for everything."""

    def __init__(self) -> None:
        self.fd, write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        self.asked_to_end = False
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)

    def _end(self, *_) -> None:
        self.asked_to_end = True

    def drain(self) -> None:
        try:
            while os.read(self.fd, 512):
                pass
        except BlockingIOError:
            pass


class Child:
    """The command. Reaped here and nowhere else."""

    def __init__(self, command: list[str], log: str) -> None:
        self.pid = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            # A group of its own, so that what it starts in turn can be found when it is gone.
            setpgroup=0,
            # Python ignores these two; what a command ignores at its start, it ignores for good.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )

    def ended(self) -> "int | None":
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        try:
            # What it started and left behind. As long as one of them lives, the number means this group and no other.
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # Nobody is left (macOS says it in the second way).
        return status

    def signal(self, name: str) -> None:
        os.kill(self.pid, getattr(signal, "SIG" + name))


def watch(child: Child, grace: float, wakeups: Wakeups) -> "tuple[int, bool]":
    """Waits for the command's end; says how it ended, and whether the owner was gone by then."""
    sources = [0, wakeups.fd]
    pending = b""
    owner_gone = False
    kill_at = None
    while (status := child.ended()) is None:
        if (owner_gone or wakeups.asked_to_end) and kill_at is None:
            child.signal("TERM")
            child.signal("CONT")  # a stopped process would never see the other one
            kill_at = time.monotonic() + grace
        timeout = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        if timeout == 0.0:
            child.signal("KILL")
            kill_at, timeout = float("inf"), None
        elif timeout == float("inf"):
            timeout = None
        readable, _, _ = select.select(sources, [], [], timeout)
        if wakeups.fd in readable:
            wakeups.drain()
        if 0 in readable:
            data = os.read(0, 512)
            if not data:
                owner_gone = True
                sources.remove(0)
            *lines, pending = (pending + data).split(b"\n")
            for name in (line.decode("ascii", "replace") for line in lines):
                # A second signal in one batch may meet a child that is dead but not reaped: harmless.
                if name in SIGNALS:
                    child.signal(name)
    return status, owner_gone


def hold(scratch: str) -> "int | None":
    """Marks the folder as in use, for as long as the descriptor is open."""
    if scratch == "-":
        return None
    fd = os.open(scratch, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def remove_if_last(scratch: str, fd: "int | None") -> None:
    if fd is None:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    import shutil

    shutil.rmtree(scratch, ignore_errors=True)


def end_like(status: int) -> int:
    """The command's exit code; where a signal ended it, this process ends by the same one."""
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    import resource

    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def main() -> int:
    grace, log, scratch, *command = sys.argv[1:]
    wakeups = Wakeups()
    fd = hold(scratch)
    try:
        child = Child(command, log)
    except OSError as error:
        print("error", error.strerror, flush=True)
        return COULD_NOT_START
    try:
        print("pid", child.pid, flush=True)
    except BrokenPipeError:
        pass  # The owner is gone already: `watch` sees that too.
    status, owner_gone = watch(child, float(grace), wakeups)
    if owner_gone:
        remove_if_last(scratch, fd)
    return end_like(status)


if __name__ == "__main__":
    sys.exit(main())
