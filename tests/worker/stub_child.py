"""A child process of worker.supervise whose experiment behaves as the first argument says, without importing torch."""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from worker import child
from worker.training.outcomes import Diverged
from worker.training.watching import Step, tell

POINT = {"seed": 0, "rank": 1, "scaling": "constant"}


def finish(params, lab):
    lab.progress(1, 2, "half")
    with lab.point(**POINT) as point:
        if not point.is_finished:
            point.log("loss", 2.0, step=0)
            point.log("validation_loss", 1.5)
    path = lab.scratch / "notes.csv"
    path.write_text("a,b\n")
    lab.artifact("notes.csv", path)


def train(params, lab):
    lab.progress(1, 4, "training")
    tell(Step(done=6, total=24, loss=2.5, tokens=300, seconds=2.0))
    time.sleep(1.5)


def chatter(params, lab):
    print("a library prints")  # noqa: T201
    os.write(1, b"and C code too\n")
    finish(params, lab)


def show_environment(params, lab):
    lab.progress(0, 1, ",".join(os.environ))


def crash(params, lab):
    finish(params, lab)
    raise RuntimeError("the experiment is broken")


def diverge(params, lab):
    with lab.point(seed=0, rank=64, scaling="double") as point:
        point.log("validation_loss", float("nan"))


def diverge_in_training(params, lab):
    with lab.point(seed=0, rank=64, scaling="double"):
        raise Diverged("loss too high", step=5)


def run_out_of_memory(params, lab):
    held = b"x" * (300 * 2**20)  # sooner than anybody can look
    raise MemoryError(len(held))


def allocate(params, lab):
    lab.progress(0, 1, str(len(bytearray(2 * 2**30))))


def allocate_in_helpers(params, lab):
    """Each below the limit, together above it."""
    code = "import time; held = b'x' * (200 * 2**20); time.sleep(600)"
    helpers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    lab.progress(0, 1, " ".join(str(helper.pid) for helper in helpers))
    time.sleep(600)


def write_one_large_file(params, lab):
    with (lab.scratch / "checkpoint").open("wb") as file:
        for _ in range(64):
            file.write(bytes(2**20))


def write_many_files(params, lab):
    for number in range(32):
        (lab.scratch / f"checkpoint-{number}").write_bytes(bytes(2**20))
    time.sleep(600)


def keep_many_files(params, lab):
    for number in range(32):
        path = lab.scratch / f"{number}.csv"
        path.write_bytes(bytes(2**20))
        lab.artifact(path.name, path)
    time.sleep(600)


def fill_the_disk(params, lab):
    with Path("/dev/full").open("wb") as file:
        file.write(bytes(2**20))


def keep_a_pickle(params, lab):
    path = lab.scratch / "weights.pkl"
    path.write_bytes(b"x")
    lab.artifact(path.name, path)


def keep_above(params, lab):
    path = lab.scratch / "notes.csv"
    path.write_bytes(b"x")
    lab.artifact("../notes.csv", path)


def keep_a_stranger(params, lab):
    path = lab.scratch / "notes.csv"
    path.symlink_to("/etc/passwd")
    lab.artifact("notes.csv", path)


def be_killed(params, lab):
    os.kill(os.getpid(), signal.SIGKILL)


def leave(params, lab):
    os._exit(3)


def sleep(params, lab):
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    lab.progress(0, 1, f"{os.getpid()} {helper.pid}")
    time.sleep(600)


def sleep_through_sigterm(params, lab):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep(params, lab)


def garble(params, lab):
    finish(params, lab)


if __name__ == "__main__":
    behaviour = sys.argv.pop(1)
    if behaviour == "garble":
        os.write(1, b'{"event": "point", "key": "", "seed": 0, "metrics": [{"name": "loss", "value": NaN}]}\n')
    child.prepare_torch = lambda *_: "cpu"
    child.describe = lambda *_: {"hardware": {}}
    sys.modules["worker.experiments.rank_sweep"] = types.SimpleNamespace(run=globals()[behaviour])
    sys.exit(child.main())
