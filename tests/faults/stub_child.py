"""The real child process with an experiment that needs no torch: the first seed says how it behaves.

A point takes `steps` hundredths of a second. Each computed point leaves a line in `computed.log`: run, attempt (at the
run, or at a part of it), point.
"""

import signal
import sys
import time
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from worker import child
from worker.context import RunContext
from worker.usage import MB

SCALING = "constant"


def compute(params, lab: RunContext) -> None:
    attempt = f"{lab.scratch.parent.name} {lab.scratch.name.removeprefix('scratch-')}"
    for done, rank in enumerate(params.ranks):
        lab.progress(done, len(params.ranks), f"r = {rank}")
        with lab.point(seed=lab.seeds[0], rank=rank, scaling=SCALING) as point:
            if not point.is_due:
                continue
            for step in range(4):
                time.sleep(params.steps / 400)
                point.log("loss", 1.0 / (1 + step), step=step)
            point.log("validation_loss", 1.0 / rank)
            with (lab.models_dir / "computed.log").open("a") as log:
                log.write(f"{attempt} {point.key}\n")
    path = lab.scratch / "notes.csv"
    path.write_text("a,b\n")
    lab.artifact("notes.csv", path)


def ignore_sigterm(params, lab: RunContext) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    compute(params, lab)


def allocate_without_end(params, lab: RunContext) -> None:
    held = []
    while True:
        held.append(b"x" * (32 * MB))
        time.sleep(0.05)


def write_without_end(params, lab: RunContext) -> None:
    number = 0
    while True:
        number += 1
        (lab.scratch / f"checkpoint-{number}").write_bytes(bytes(MB))
        time.sleep(0.02)


def meet_a_full_disk(params, lab: RunContext) -> None:
    with Path("/dev/full").open("wb") as file:
        file.write(bytes(MB))


BEHAVIOURS = (compute, ignore_sigterm, allocate_without_end, write_without_end, meet_a_full_disk)


def run(params, lab: RunContext) -> None:
    BEHAVIOURS[lab.seeds[0]](params, lab)


if __name__ == "__main__":
    child.prepare_torch = lambda *_: "cpu"
    child.describe = lambda *_: {"hardware": {}}
    sys.modules["worker.experiments.rank_sweep"] = types.SimpleNamespace(run=run)
    sys.exit(child.main())
