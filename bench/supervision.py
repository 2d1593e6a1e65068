"""What it costs to supervise a run: the same lab through the queue, and as a bare script in a process of its own.

Target: the queue takes at most 3 % plus 4 s longer. Both are timed from the request to the result, with the start of
Python and of torch; the queue's worker is up already, as it is on a site. Runs take turns, so that a busy machine
slows both alike. `training` is the experiment alone, without any start.

BENCH_SUPERVISION_STEPS and BENCH_SUPERVISION_ROUNDS make it shorter or longer.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.conf import settings

STEPS = int(os.environ.get("BENCH_SUPERVISION_STEPS", "24"))
ROUNDS = int(os.environ.get("BENCH_SUPERVISION_ROUNDS", "3"))
SHARE, START_SECONDS = 0.03, 4.0  # of the target
PARAMS = {"model": "smollm2-135m", "ranks": [8], "scalings": ["constant"], "steps": STEPS}
SEEDS = [0]
ENDED_WITHIN = 1800  # seconds


def run() -> dict[str, Any]:
    bare, queue = [], []
    with tempfile.TemporaryDirectory(prefix="proofdeck-bench-") as folder, site(Path(folder)) as environment:
        for _ in range(ROUNDS):
            bare.append(timed("bare", environment))
            queue.append(timed("queue", environment))
    seconds = {name: median(times, "total") for name, times in (("bare", bare), ("queue", queue))}
    training = {name: median(times, "training") for name, times in (("bare", bare), ("queue", queue))}
    overhead, allowed = seconds["queue"] - seconds["bare"], SHARE * seconds["bare"] + START_SECONDS
    return {
        "steps": STEPS,
        "rounds": ROUNDS,
        "load_average": os.getloadavg()[0],
        "seconds": seconds,
        "training_seconds": training,
        "overhead_seconds": round(overhead, 2),
        "allowed_seconds": round(allowed, 2),
        "training_ratio": round(training["queue"] / training["bare"], 4),
    }


def median(times: list[dict[str, float]], name: str) -> float:
    return round(statistics.median(each[name] for each in times), 2)


@contextmanager
def site(folder: Path) -> Iterator[dict[str, str]]:
    """A broker, a database and a worker of their own; gives the environment that leads to them."""
    from config.supervisor import valkey
    from config.supervisor.run import worker_command

    (folder / "models").symlink_to(Path(settings.MODELS_DIR).resolve())
    environment = {**os.environ, "DATA_DIR": str(folder), "DATABASE_URL": "", "REDIS_URL": ""}
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], given: str = "") -> None:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=environment, cwd=settings.BASE_DIR, start_new_session=True, **quiet
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(given.encode())
        process.stdin.close()

    migrate = [sys.executable, "manage.py", "migrate", "-v", "0"]
    subprocess.run(migrate, env=environment, check=True, cwd=settings.BASE_DIR)
    valkey.make_folders(folder)
    try:
        start(valkey.command(), valkey.configuration(folder))
        start(worker_command())
        timed("queue", environment | {"BENCH_SUPERVISION_STEPS": "1"})  # now the worker is up
        yield environment
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def timed(way: str, environment: dict[str, str]) -> dict[str, float]:
    """Seconds of one run: `total` as whoever asks sees it, `training` as the experiment's own process does."""
    command = [sys.executable, "-m", "bench.supervision", way]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=settings.BASE_DIR)
    found: dict[str, float] = json.loads(done.stdout)
    return {"total": time.perf_counter() - began} | found


# --- the process that is timed ----------------------------------------------------------------------------------------


def bare() -> dict[str, float]:
    """What a script does: import, seed, compute. Nobody listens to what the experiment says."""
    import torch

    from labs.catalog.rank_sweep import LAB, RankSweepParameters
    from worker.context import RunContext
    from worker.environment import thread_count
    from worker.experiments import rank_sweep
    from worker.protocol import Job

    torch.set_num_threads(thread_count())
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(
            lab=LAB.slug, params=PARAMS, seeds=SEEDS, scratch=scratch, models_dir=f"{os.environ['DATA_DIR']}/models"
        )
        began = time.perf_counter()
        rank_sweep.run(RankSweepParameters(**PARAMS), RunContext(job, LAB, lambda _: None, "cpu"))
        return {"training": time.perf_counter() - began}


def queue() -> dict[str, float]:
    """What a site does. `total` leaves out the start of Django in this process, which a site has behind it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.contrib.auth.models import User

    from labs import services
    from labs.models import Run

    owner, _ = User.objects.get_or_create(username="learner", is_staff=True)
    request = services.run_request(lab_slug="rank-sweep", params=PARAMS, seeds=SEEDS)
    began = time.perf_counter()
    run = services.run_submit(user=owner, request=request)
    while run.is_live:
        if time.perf_counter() - began > ENDED_WITHIN:
            raise TimeoutError(f"{run} after {ENDED_WITHIN} s")
        time.sleep(0.1)
        run.refresh_from_db()
    if run.status != Run.SUCCEEDED:
        raise RuntimeError(f"{run}: {run.reason}")
    return {"total": time.perf_counter() - began, "training": run.durations["run"]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"bare": bare, "queue": queue}[sys.argv[1]]()))
