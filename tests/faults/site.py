"""A whole site of real processes, of which a test may kill any."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from config.supervisor.run import web_command, worker_command
from tests.faults.servers import Server
from tests.stack.processes import MARKER, ROOT, environment, free_port, get, marked, until

STUB = str(Path(__file__).with_name("stub_child.py"))
FINAL = {"succeeded", "failed", "cancelled", "timed_out"}
COMPUTE, IGNORE_SIGTERM, ALLOCATE, WRITE, FULL_DISK = range(5)
# Short, so that a lost worker is noticed soon.
ROOM_FOR_TORCH = "2048"  # megabytes; loading it takes about 500
SETTINGS = {"RUN_LEASE_SECONDS": "3", "RUN_MEMORY_LIMIT_MB": "512", "RUN_DISK_LIMIT_MB": "16"}


class Probe(threading.Thread):
    """Asks for pages all along and notes the answers."""

    def __init__(self, url: str, pages: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self.url, self.pages = url, pages
        self.answers: Counter[tuple[str, int]] = Counter()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.2):
            for page in self.pages:
                self.answers[page, get(self.url + page)[0]] += 1

    def stop(self) -> None:
        self.ended.set()
        self.join(30)


@dataclass
class Site:
    data_dir: Path
    broker: Server
    database: Server | None = None
    processes: dict[str, subprocess.Popen[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        urls = {"REDIS_URL": self.broker.url, "SECRET_KEY": "known to the test only"} if self.broker.url else {}
        more = urls | ({"DATABASE_URL": self.database.url} if self.database else {})
        self.port = free_port()
        self.environment = environment(self.data_dir, **SETTINGS, **more) | {"PYTHONPATH": str(ROOT)}
        (self.data_dir / "models").mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        for command in (["migrate"], ["collectstatic", "--no-input"]):
            manage = [sys.executable, str(ROOT / "manage.py"), *command, "-v", "0"]
            subprocess.run(manage, env=self.environment, check=True, cwd=ROOT)
        self._spawn("web", web_command("127.0.0.1", self.port), DJANGO_SETTINGS_MODULE="config.settings")
        driver = [sys.executable, "-m", "tests.faults.driver"]
        self.driver = subprocess.Popen(
            driver, env=self.environment, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.start_worker("a")
        until(lambda: get(self.url + "healthz")[0] == 200, seconds=30, what="the web process")

    def _spawn(self, name: str, command: list[str], **more: str) -> None:
        log = (self.data_dir / f"{name}.log").open("ab")
        own = {"env": self.environment | more, "cwd": ROOT, "start_new_session": True}
        self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **own)

    def start_worker(self, name: str, app: str = "tests.faults.stub_worker") -> None:
        """With the stub for a child, unless it is the real `worker.app`."""
        before = self.log(name).count(" ready.")
        command = [app if part == "worker.app" else part for part in worker_command(name=name)]
        more = {"RUN_MEMORY_LIMIT_MB": ROOM_FOR_TORCH} if app == "worker.app" else {}
        self._spawn(name, command, **more)
        until(lambda: self.log(name).count(" ready.") > before, seconds=30, what=f"worker {name}")

    def log(self, name: str) -> str:
        path = self.data_dir / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def pool_process(self, name: str) -> psutil.Process:
        """The process of a worker that supervises a run."""
        children = psutil.Process(self.processes[name].pid).children()
        return next(child for child in children if "celery" in " ".join(child.cmdline()))

    def children(self) -> list[psutil.Process]:
        """The processes of runs."""
        return [process for process in marked(self.environment[MARKER]) if _is_child(process)]

    def kill_worker(self, name: str) -> None:
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def stop_worker(self, name: str, *, within: float) -> None:
        began = time.monotonic()
        self.processes[name].terminate()
        self.processes.pop(name).wait(20)
        assert time.monotonic() - began < within

    def do(self, name: str, **arguments: Any) -> Any:
        assert self.driver.stdin
        assert self.driver.stdout
        self.driver.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
        self.driver.stdin.flush()
        return json.loads(self.driver.stdout.readline())

    def submit(self, behaviour: int = COMPUTE, *, points: int = 3, pause: int = 40, count: int = 1) -> list[int]:
        return self.do("submit", behaviour=behaviour, points=points, pause=pause, count=count)

    def look(self, ids: list[int]) -> list[dict[str, Any]]:
        return self.do("look", ids=ids)

    def in_the_middle(self, ids: list[int]) -> None:
        """When the first point of the first run is finished, and its second is under way."""
        until(lambda: self.look(ids[:1])[0]["finished_points"], seconds=30, what="a first point")

    def finished(self, ids: list[int], *, seconds: float = 40) -> list[dict[str, Any]]:
        """The runs, each in its final state, with its results once, and no process of theirs left."""
        until(lambda: all(run["status"] in FINAL for run in self.look(ids)), seconds=seconds, what=f"the end of {ids}")
        runs = self.look(ids)
        for run in runs:
            assert run["results"] == len(run["finished_points"]) == len({key for key, _ in run["finished_points"]})
            computed = self.computed(run["id"])
            # Only the point that was under way when an attempt ended may have been computed again.
            assert len(computed) - len(set(computed)) <= run["attempt"] - 1
        until(lambda: not self.children(), seconds=5, what="the end of the children")
        return runs

    def computed(self, run_id: int) -> list[str]:
        log = self.data_dir / "models" / "computed.log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [point for run, _, point in lines if int(run) == run_id]

    def signal_all(self, name: str, number: int) -> None:
        """To a worker's processes and the runs that they supervise."""
        main = psutil.Process(self.processes[name].pid)
        for process in [main, *main.children(recursive=True)]:
            process.send_signal(number)

    def stop(self) -> None:
        self.driver.stdin.close()  # type: ignore[union-attr]
        self.driver.wait(10)
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            process.wait(20)
        # The broker and the database are not of this environment.
        until(lambda: not marked(self.environment[MARKER]), seconds=5, what="the end of all processes")

    def kill(self) -> None:
        for process in marked(self.environment[MARKER]):
            process.kill()


def _is_child(process: psutil.Process) -> bool:
    try:
        return STUB in process.cmdline()
    except psutil.Error:
        return False
