"""The log of several processes on one terminal: each line with the name of who wrote it."""

import os
import sys
import threading
from typing import IO

COLOURS = {"up": 36, "broker": 35, "worker": 33, "web": 32}


class Printer:
    """Prints whole lines, one at a time, from any thread."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.stream = stream or sys.stdout
        self.lock = threading.Lock()
        self.coloured = self.stream.isatty() and not os.environ.get("NO_COLOR")

    def prefix(self, name: str) -> str:
        label = f"{name:<6} |"
        return f"\033[{COLOURS.get(name, 37)}m{label}\033[0m " if self.coloured else f"{label} "

    def line(self, name: str, text: str) -> None:
        with self.lock:
            try:
                self.stream.write(f"{self.prefix(name)}{text}\n")
                self.stream.flush()
            except OSError:  # nobody reads any more (`make up | head`): the services matter, their log does not
                pass

    def pump(self, name: str, source: IO[bytes]) -> None:
        """Print what a process writes until it ends."""
        for raw in source:
            self.line(name, raw.decode(errors="replace").rstrip())
