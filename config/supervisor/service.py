"""One child process that is started, watched, started again and stopped."""

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from config.supervisor.guard import signal_group
from config.supervisor.output import Printer

# A process that lives this long has started well: the next failure waits the shortest time again.
STEADY = 30.0
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0


def ignore(pid: int) -> None:
    """What happens to the process concerns nobody else."""


@dataclass
class Service:
    name: str
    command: list[str]
    printer: Printer
    folder: Path
    environment: Mapping[str, str]
    configuration: str = ""  # written to its standard input
    may_start: Callable[[], bool] = lambda: True  # asked before each start, prepares what the start needs
    began: Callable[[int], None] = ignore
    ended: Callable[[int], None] = ignore
    grace: float = 10.0  # seconds to stop in before it is killed
    failures: int = 0  # in a row, each soon after a start
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started: float = field(default=0.0, init=False)
    not_before: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Run it in a session of its own, so that a Ctrl-C on the terminal reaches the supervisor alone."""
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
        )
        self.process, self.started = process, time.monotonic()
        self.began(process.pid)
        threading.Thread(target=self.printer.pump, args=(self.name, process.stdout), daemon=True).start()
        stdin = cast("IO[bytes]", process.stdin)
        with contextlib.suppress(BrokenPipeError):  # it ended at once: watch() will say so
            stdin.write(self.configuration.encode())
            stdin.close()

    def watch(self) -> None:
        """Start it if it does not run, later each time that it ended soon after its start."""
        now = time.monotonic()
        if self.process and self.process.poll() is not None:
            self._clear(self.process)
            self.failures = 1 if now - self.started > STEADY else self.failures + 1
            delay = min(FIRST_DELAY * 2 ** (self.failures - 1), LONGEST_DELAY)
            self.not_before = now + delay
            code = self.process.returncode
            self.printer.line("up", f"{self.name} ended with code {code}, starting it again in {delay:g} s")
            self.process = None
        if not self.process and now >= self.not_before and self.may_start():
            self.start()

    def stop(self, in_a_hurry: Callable[[], bool]) -> None:
        if not self.process:
            return
        deadline = time.monotonic() + self.grace
        self.process.send_signal(signal.SIGTERM)
        while self.process.poll() is None and time.monotonic() < deadline and not in_a_hurry():
            time.sleep(0.02)
        self._clear(self.process)
        self.process = None

    def _clear(self, process: subprocess.Popen[bytes]) -> None:
        """End what is left of its process group: children that outlived their parent."""
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
        self.ended(process.pid)
