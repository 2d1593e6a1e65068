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


def run_out_of_memory(params, lab):
    raise MemoryError


def allocate(params, lab):
    lab.progress(0, 1, str(len(bytearray(2 * 2**30))))


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
    child.prepare_torch = lambda: "cpu"
    child.describe = lambda *_: {"hardware": {}}
    sys.modules["worker.experiments.rank_sweep"] = types.SimpleNamespace(run=globals()[behaviour])
    sys.exit(child.main())
