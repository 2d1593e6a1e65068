"""Broker, web server and worker together: started in order, kept alive, stopped in reverse."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TextIO

from django.conf import settings

from config.supervisor import guard, valkey
from config.supervisor.output import Printer
from config.supervisor.service import Service
from labs.broker import BrokerDown, live_workers, restore_unacked
from worker.machine import has_driver

# Failures in a row, before everything answered once, after which going on makes no sense.
FIRST_TRIES = 3
PORTS_TO_TRY = 50
READY_WITHIN = 60.0


class StartFailedError(RuntimeError):
    """A service does not start; its own lines say why."""


def free_port(host: str, wanted: int) -> int:
    """The wanted port, or the next one that nobody listens on."""
    family = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0][0]
    for port in range(wanted, min(wanted + PORTS_TO_TRY, 65536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except PermissionError as e:
                raise StartFailedError(f"port {port} needs special rights: choose one from 1024 on") from e
            except OSError:
                continue
            return port
    raise StartFailedError(f"no free port from {wanted} to {wanted + PORTS_TO_TRY - 1} on {host}")


def web_command(host: str, port: int) -> list[str]:
    """One process with four threads: 300 pages a second on one core, and SQLite has one writer anyway."""
    options = ["--interface", "wsgi", "--workers", "1", "--blocking-threads", "4", "--no-ws"]
    address = ["--host", host, "--port", str(port)]
    quiet = ["--log-level", "warning", "--workers-kill-timeout", "5", "--respawn-failed-workers"]
    return [sys.executable, "-m", "granian", *options, *address, *quiet, "config.wsgi:application"]


def worker_command(queues: str = "cpu", name: str = "celery") -> list[str]:
    """As many tasks at a time as worker.machine says. No gossip between workers: the database decides who runs what."""
    celery = [sys.executable, "-W", "ignore:You're running the worker", "-m", "celery", "-q", "-A", "worker.app"]
    options = ["-Q", queues, "-n", f"{name}@%h", "--without-gossip", "--without-mingle"]
    return [*celery, "worker", *options, "--loglevel", "INFO"]


def own_queues() -> str:
    """The queues of the one worker of this machine."""
    return "cpu,gpu" if has_driver() else "cpu"


def worker_environment() -> dict[str, str]:
    """Ours, with the data folder that we found."""
    return {**os.environ, "DATA_DIR": str(settings.DATA_DIR)}


def fetch(url: str) -> int:
    """HTTP status of a page of our own server, 0 when nothing answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=6) as response:
            return int(response.status)
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def worker_answers() -> bool:
    try:
        return bool(live_workers(timeout=0.3))
    except BrokerDown:  # it is starting
        return False


class Supervisor:
    """The three services of one data folder. The broker is left out when REDIS_URL names another."""

    def __init__(self, *, host: str, port: int, lock: TextIO, printer: Printer) -> None:
        self.host, self.port = host, port
        self.printer = printer
        self.signals = 0
        self.announced = threading.Event()
        self._start_guard(lock)
        self.services = [
            self._service("web", web_command(host, port)),
            self._service("worker", worker_command(own_queues())),
        ]
        if not settings.REDIS_URL:
            self._add_broker()

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    def run(self, announce: Callable[[], None]) -> None:
        """Run everything until a signal asks to stop; `announce` is called once, when everything answers."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        try:
            threading.Thread(target=self._wait_until_ready, args=(announce,), daemon=True).start()
            self._watch()
        finally:
            self._stop()

    def _start_guard(self, lock: TextIO) -> None:
        reads, writes = os.pipe()
        command = [sys.executable, "-I", "-S", guard.__file__]
        self.guard = subprocess.Popen(command, stdin=reads, pass_fds=[lock.fileno()], start_new_session=True)
        os.close(reads)
        self.to_guard = os.fdopen(writes, "w")

    def _service(self, name: str, command: list[str]) -> Service:
        service = Service(name, command, self.printer, settings.BASE_DIR, worker_environment())
        service.began = lambda pid: self._tell_guard(f"+{pid}")
        service.ended = lambda pid: self._tell_guard(f"-{pid}")
        return service

    def _add_broker(self) -> None:
        broker = self._service("broker", valkey.command())
        broker.configuration = valkey.configuration(settings.DATA_DIR)
        broker.may_start = lambda: valkey.make_folders(settings.DATA_DIR)
        self.services[-1].may_start = self._restore
        self.services.insert(0, broker)

    def _restore(self) -> bool:
        """Queue again what a killed worker had taken. What another worker has is rung for twice, which does no harm."""
        if not valkey.is_ready(settings.DATA_DIR):
            return False
        if restored := restore_unacked():
            self.printer.line("up", f"handed {restored} unfinished task(s) back to the queue")
        return True

    def _tell_guard(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # somebody killed the guard: all else still works
            self.to_guard.write(line + "\n")
            self.to_guard.flush()

    def _note_signal(self, number: int, frame: object) -> None:
        self.signals += 1

    def _watch(self) -> None:
        while not self.signals:
            for service in self.services:
                service.watch()
                if service.failures >= FIRST_TRIES and not self.announced.is_set():
                    raise StartFailedError(f"{service.name} does not start: its lines above say why")
            time.sleep(0.05)

    def _wait_until_ready(self, announce: Callable[[], None]) -> None:
        """Announce when the pages and the worker answer; late, with a warning, when the worker does not."""
        deadline = time.monotonic() + READY_WITHIN
        while fetch(f"{self.url}healthz") == 0:
            time.sleep(0.05)
        while not worker_answers() and time.monotonic() < deadline:
            time.sleep(0.1)
        if fetch(f"{self.url}readyz") == 503:
            self.printer.line("up", f"not everything answers yet, {self.url}readyz says what is missing")
        self.announced.set()
        announce()

    def _stop(self) -> None:
        self.printer.line("up", "stopping")
        for service in reversed(self.services):
            service.stop(lambda: self.signals > 1)
        self.to_guard.close()
        self.guard.wait()
