"""Run a job in a child process, watch it, and say in plain words how it ended. Imports no torch."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from pydantic import ValidationError

from worker.protocol import EVENT, DoneEvent, Event, FailedEvent, Job

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "worker.child")
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
POLL_SECONDS = 0.25  # how late a cancellation may be noticed
GRACE_SECONDS = 2.0  # between asking and killing
LOG_LINES = 200
# Longer than any event: a child that writes more without a line break is broken.
LINE_LIMIT = 8 * 2**20

Status = Literal["succeeded", "failed", "cancelled", "timed_out"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the reason and what to change in plain words, the rest for whoever looks closer."""

    status: Status
    reason: str = ""
    advice: str = ""
    traceback: str = ""
    log: str = ""


class BrokenStream(ValueError):
    """The child wrote something that is not an event."""


def supervise(
    job: Job,
    *,
    on_event: Callable[[Event], None],
    should_cancel: Callable[[], bool],
    time_limit: float,
    memory_limit: int | None = None,
) -> Outcome:
    """Run the job to its end. `time_limit` is in seconds, `memory_limit` in megabytes.

    `on_event` gets every event but the last (done or failed), which is in the outcome: `done` is passed on as well,
    for its durations. An exception from either callback ends the child and is raised again.
    """
    if memory_limit:
        job = job.model_copy(update={"memory_limit_mb": memory_limit})
    child = Child(job)
    try:
        return _watch(child, on_event, should_cancel, time_limit)
    finally:
        child.stop()


def child_environment() -> dict[str, str]:
    """What the child needs and nothing more: no keys, no URLs of database or broker."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        # Threads that wait must sleep, not spin. Two processes on two cores: 0.6 s a forward pass of SmolLM2 against
        # 3.2 s with OpenMP's default; alone on the machine both take the same time.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


class Child:
    """The process, its event lines and the tail of its log."""

    def __init__(self, job: Job) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--parent", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=child_environment(),
            start_new_session=True,  # a process group of its own, to be stopped as a whole
        )
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._rest = {"events": b"", "log": b""}
        self._selector = selectors.DefaultSelector()
        for name, stream in (("events", self.process.stdout), ("log", self.process.stderr)):
            assert stream is not None  # noqa: S101 (for the type checker)
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, name)
        self._send(job)

    def _send(self, job: Job) -> None:
        assert self.process.stdin is not None  # noqa: S101 (for the type checker)
        with suppress(BrokenPipeError):  # it is dead already; its exit code and log say why
            self.process.stdin.write(job.model_dump_json().encode())
            self.process.stdin.close()

    @property
    def has_output(self) -> bool:
        """Whether a stream is still open."""
        return bool(self._selector.get_map())

    @property
    def log(self) -> str:
        return "\n".join(self._log)

    def read_events(self, timeout: float) -> list[Event]:
        """Events that arrive within `timeout` seconds; lines of the log are kept aside."""
        events: list[Event] = []
        for key, _ in self._selector.select(timeout):
            lines = self._read_lines(key.fileobj, key.data)  # type: ignore[arg-type]
            if key.data == "log":
                self._log.extend(line.decode(errors="replace") for line in lines)
            else:
                events.extend(_parse(line) for line in lines)
        return events

    def _read_lines(self, stream: IO[bytes], name: str) -> list[bytes]:
        chunk = os.read(stream.fileno(), 2**16)
        *lines, self._rest[name] = (self._rest[name] + chunk).split(b"\n")
        if not chunk:
            self._selector.unregister(stream)
            return [self._rest[name]] if name == "log" and self._rest[name] else []
        if len(self._rest[name]) > LINE_LIMIT:
            if name == "events":
                raise BrokenStream("The run sent a line without end.")
            self._rest[name] = b""  # a progress bar may write forever without a line break
        return lines

    def stop(self) -> None:
        """Ask the whole group to end, then kill it; a child that has ended already is only cleared away."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_SECONDS)
        self._signal(signal.SIGKILL)  # also for what the child may have started
        self.process.wait()
        self._selector.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # nobody is left in the group
            os.killpg(self.process.pid, number)


def _parse(line: bytes) -> Event:
    try:
        return EVENT.validate_json(line)
    except ValidationError as error:
        raise BrokenStream(f"The run sent something that is not an event: {line[:200]!r}") from error


def _watch(
    child: Child, on_event: Callable[[Event], None], should_cancel: Callable[[], bool], time_limit: float
) -> Outcome:
    deadline = time.monotonic() + time_limit
    last: Event | None = None
    while child.has_output:
        if should_cancel():
            return Outcome("cancelled", "The run was cancelled.", log=child.log)
        if time.monotonic() > deadline:
            return _timed_out(time_limit, child.log)
        try:
            events = child.read_events(POLL_SECONDS)
        except BrokenStream as error:
            return Outcome("failed", str(error), log=child.log)
        for event in events:
            last = event
            if not isinstance(event, FailedEvent):
                on_event(event)
        if not events and child.process.poll() is not None:
            break  # dead, and silent: something it started may still hold its streams open
    return _ended(child, last)


def _timed_out(time_limit: float, log: str) -> Outcome:
    return Outcome(
        "timed_out",
        f"The run took longer than the limit of {time_limit:g} seconds.",
        "Choose fewer points or steps, or raise RUN_TIME_LIMIT. What was finished is kept.",
        log=log,
    )


def _ended(child: Child, last: Event | None) -> Outcome:
    """The outcome of a child that closed its streams."""
    code = child.process.wait()
    if isinstance(last, FailedEvent):
        return Outcome("failed", last.reason, last.advice, last.traceback, child.log)
    if isinstance(last, DoneEvent) and code == 0:
        return Outcome("succeeded", log=child.log)
    if code == -signal.SIGKILL:
        return Outcome(
            "failed",
            "The process was killed, most likely because the machine ran out of memory.",
            "Choose a smaller batch size, smaller ranks or a smaller model. What was finished is kept.",
            log=child.log,
        )
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return Outcome("failed", f"The process ended {how} before the run was done.", log=child.log)
