"""Run a job in a child process, watch it, and say how it ended. Imports no torch."""

import errno
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import ValidationError

from labs.reasons import message
from worker.protocol import EVENT, ArtifactEvent, DoneEvent, Event, FailedEvent, Job
from worker.usage import MB, folder_size, group_memory

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "worker.child")
KEPT_VARIABLES = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ"]
KEPT_VARIABLES += ["CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"]
POLL_SECONDS = 0.25  # how late a cancellation may be noticed
GRACE_SECONDS = 1.0  # between asking and killing
LOG_LINES = 200
# Longer than any event: a child that writes more without a line break is broken.
LINE_LIMIT = 8 * 2**20

USAGE_SECONDS = 1.0  # between two looks at memory and disk

GB = 1e9
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

# Why a run has to stop before its end: it was cancelled, somebody else has it now, or the worker itself stops.
Stop = Literal["cancelled", "lost", "released"]


@dataclass(frozen=True)
class Limits:
    """What one run may take. The limits of memory and disk hold for all its processes and files together."""

    seconds: float
    memory_mb: int | None = None
    disk_mb: int | None = None
    gpu_memory_percent: int = 100
    device: str | None = None  # CUDA_VISIBLE_DEVICES; None is what the supervising process sees


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the reason as a code of labs.reasons with its arguments, the rest for whoever looks closer."""

    status: Literal["succeeded", "failed", "timed_out"] | Stop
    code: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    traceback: str = ""
    log: str = ""
    peak_memory_mb: int | None = None

    @property
    def reason(self) -> str:
        """In plain words, with what to change."""
        return message(self.code, self.args)


@dataclass(frozen=True)
class Pulse:
    """What is known of a run under way."""

    log: str
    memory_mb: int | None
    peak_memory_mb: int | None


class BrokenStream(ValueError):
    """The child wrote something that is not an event."""

    def __init__(self, code: str, **args: str) -> None:
        self.code, self.args_of_code = code, args
        super().__init__(code)


def supervise(
    job: Job, *, on_event: Callable[[Event], None], on_pulse: Callable[[Pulse], Stop | None], limits: Limits
) -> Outcome:
    """Run the job to its end, within its limits.

    `on_event` gets every event but a failure, which is the outcome. `on_pulse` is called several times a second and
    says whether the run has to stop. An exception from either ends the child and is raised again.
    """
    told = {"memory_limit_mb": limits.memory_mb, "file_limit_mb": limits.disk_mb}
    child = Child(job.model_copy(update=told | {"gpu_memory_percent": limits.gpu_memory_percent}), limits.device)
    folders = [Path(folder) for folder in (job.scratch, job.checkpoints) if folder]
    try:
        outcome = Watch(child, folders, limits).until_end(on_event, on_pulse)
    finally:
        child.stop()
    return replace(outcome, log=child.log)


def child_environment(device: str | None = None) -> dict[str, str]:
    """What the child needs and nothing more: no keys, no URLs of database or broker."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    if device is not None:
        kept["CUDA_VISIBLE_DEVICES"] = device
    if device:
        # Each GPU has a run of its own, so that several share the cores: their waiting threads must sleep. A run on
        # the CPU is alone, and its threads may spin: a training step of SmolLM2 on two cores takes 0.8 s instead of
        # 1.3 s. Two of them at once take 3.1 s when they spin and 1.3 s when they sleep.
        kept.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }


class Child:
    """The process, its event lines and the tail of its log."""

    def __init__(self, job: Job, device: str | None = None) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--parent", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=child_environment(device),
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
                raise BrokenStream("endless-line")
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
        raise BrokenStream("broken-stream", line=repr(line[:200])) from error


class Watch:
    """One child on its way to an outcome."""

    def __init__(self, child: Child, folders: Sequence[Path], limits: Limits) -> None:
        self.child, self.folders, self.limits = child, folders, limits
        self.deadline = time.monotonic() + limits.seconds
        self.memory = 0  # bytes
        self.peak = 0  # of memory
        self.kept = 0  # bytes of files that have left the scratch folder
        self._looked_at = 0.0

    def until_end(self, on_event: Callable[[Event], None], on_pulse: Callable[[Pulse], Stop | None]) -> Outcome:
        return replace(self._watch(on_event, on_pulse), peak_memory_mb=self.peak_mb)

    @property
    def peak_mb(self) -> int | None:
        return self.peak // MB or None

    def _watch(self, on_event: Callable[[Event], None], on_pulse: Callable[[Pulse], Stop | None]) -> Outcome:
        last: Event | None = None
        while self.child.has_output:
            if stop := on_pulse(Pulse(self.child.log, self.memory // MB or None, self.peak_mb)):
                return Outcome(stop, stop if stop == "cancelled" else "")
            if too_much := self._too_much():
                return too_much
            try:
                events = self.child.read_events(POLL_SECONDS)
            except BrokenStream as error:
                return Outcome("failed", error.code, error.args_of_code)
            for event in events:
                last = event
                self._pass_on(event, on_event)
            if not events and self.child.process.poll() is not None:
                break  # dead, and silent: something it started may still hold its streams open
        return self._ended(last)

    def _pass_on(self, event: Event, on_event: Callable[[Event], None]) -> None:
        if isinstance(event, ArtifactEvent):
            with suppress(OSError):
                self.kept += os.lstat(event.path).st_size
        if not isinstance(event, FailedEvent):
            on_event(event)

    def _too_much(self) -> Outcome | None:
        """The outcome of a run over one of its limits."""
        now = time.monotonic()
        if now > self.deadline:
            return Outcome("timed_out", "timed-out", {"seconds": f"{self.limits.seconds:g}"})
        if now - self._looked_at < USAGE_SECONDS:
            return None
        self._looked_at = now
        self.memory = group_memory(self.child.process.pid)
        self.peak = max(self.peak, self.memory)
        if self.limits.memory_mb and self.memory > self.limits.memory_mb * MB:
            return Outcome("failed", "memory-limit", self._figures())
        files = self.kept + sum(map(folder_size, self.folders))
        if self.limits.disk_mb and files > self.limits.disk_mb * MB:
            return Outcome("failed", "disk-limit", {"limit": self.limits.disk_mb})
        return None

    def _figures(self) -> dict[str, str]:
        limit = (self.limits.memory_mb or 0) * MB
        return {"peak": f"{self.peak / GB:.1f}", "limit": f"{limit / GB:.1f}"}

    def _ended(self, last: Event | None) -> Outcome:
        """The outcome of a child that closed its streams."""
        code = self.child.process.wait()
        if isinstance(last, FailedEvent):
            self.peak = max(self.peak, last.memory)
            figures: dict[str, Any] = {"out-of-memory": self._figures(), "disk-limit": {"limit": self.limits.disk_mb}}
            return Outcome("failed", last.code, {**last.args, **figures.get(last.code, {})}, last.traceback)
        if isinstance(last, DoneEvent) and code == 0:
            return Outcome("succeeded")
        if code == -signal.SIGKILL:
            return Outcome("failed", "killed", self._figures())
        if code < 0:
            return Outcome("failed", "ended-by-signal", {"signal": -code})
        return Outcome("failed", "ended-early", {"code": code})
