"""The process that computes one run: `python -m worker.child` reads a job and writes events (see worker.protocol).

It knows neither database nor broker. Only events reach standard output: whatever a library prints goes to standard
error, so that it cannot corrupt the stream.
"""

import argparse
import ctypes
import errno
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from kb.text import Text
from labs.catalog import UnknownLab, get_lab, module_name
from labs.declaration import Lab, Parameters
from labs.reasons import own
from worker import environment
from worker.context import BadArtifact, NotFinite, RunContext
from worker.models.store import model_digest, model_source, prepare
from worker.protocol import DoneEvent, EnvironmentEvent, Event, FailedEvent, Job, ProgressEvent
from worker.training.outcomes import Diverged
from worker.training.watching import StepReporter, heard_by
from worker.usage import process_memory

PR_SET_PDEATHSIG = 1  # from linux/prctl.h

# What the system says about files, and what it is called in labs.reasons.
DISK_ERRORS = {errno.ENOSPC: "disk-full", errno.EDQUOT: "disk-full", errno.EFBIG: "disk-limit"}
ERROR_CHARACTERS = 1000  # of an error's text; all of it is in the traceback

Emit = Callable[[Event], None]


class InvalidJob(ValueError):
    """The job cannot be started as it is."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.child")
    parser.add_argument("--parent", type=int, help="end when this process ends")
    options = parser.parse_args()
    if options.parent:
        die_with_parent(options.parent)
    emit = event_writer(take_stdout())
    try:
        run(read_job(sys.stdin.read()), emit)
    except Exception as error:  # whatever it is, it has to become an outcome
        emit(failure(error))
        return 1
    return 0


def die_with_parent(parent: int) -> None:
    """Leave no orphan behind a supervisor that was killed (Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(1)


def take_stdout() -> TextIO:
    """Keep standard output for events; file descriptor 1 goes where standard error goes."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return events


def event_writer(stream: TextIO) -> Emit:
    def emit(event: Event) -> None:
        stream.write(event.model_dump_json() + "\n")
        stream.flush()

    return emit


def read_job(document: str) -> Job:
    try:
        return Job.model_validate_json(document)
    except ValidationError as error:
        raise InvalidJob(str(error)) from error


def run(job: Job, emit: Emit) -> None:
    """Validate the job, describe where it runs, run the experiment."""
    started = time.perf_counter()
    lab, params = validate(job)
    limit(job)
    torch_device = prepare_torch(job)
    emit(EnvironmentEvent(environment=describe(job, params, emit)))
    experiment = import_module(f"worker.experiments.{module_name(lab.slug)}")
    ready = time.perf_counter()
    with heard_by(StepReporter(emit)):
        experiment.run(params, RunContext(job, lab, emit, torch_device))
    ended = time.perf_counter()
    emit(DoneEvent(durations={"setup": ready - started, "run": ended - ready, "total": ended - started}))


def validate(job: Job) -> tuple[Lab, Parameters]:
    """The lab and its parameters, before anything heavy is imported."""
    try:
        lab = get_lab(job.lab)
        params = lab.parameters.model_validate(job.params)
        if params.needed_model():
            model_source(params.needed_model())
    except (UnknownLab, ValueError) as error:
        raise InvalidJob(str(error)) from error
    if not Path(job.scratch).is_dir():
        raise InvalidJob(f"scratch is not a folder: {job.scratch}")
    return lab, params


def limit(job: Job) -> None:
    """Let allocations and files beyond the limits fail, so that the run can still say why it ended."""
    for resource_limit, megabytes in (
        (resource.RLIMIT_DATA, job.memory_limit_mb),
        (resource.RLIMIT_FSIZE, job.file_limit_mb),
    ):
        if megabytes:
            resource.setrlimit(resource_limit, (megabytes * 2**20, megabytes * 2**20))


def prepare_torch(job: Job) -> str:
    """Import torch, set its threads and its share of the GPU, and return the device."""
    import torch

    torch.set_num_threads(environment.thread_count())
    if not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_per_process_memory_fraction(job.gpu_memory_percent / 100)
    return "cuda"


def describe(job: Job, params: Parameters, emit: Emit) -> dict[str, object]:
    from worker.data.sets import digests

    name = params.needed_model()
    models_dir = Path(job.models_dir)
    prepare([name] if name else [], models_dir, lambda note: emit(preparing(note)))
    return environment.describe(name, model_digest(name, models_dir) if name else "", digests())


def preparing(note: Text) -> ProgressEvent:
    code, args = own(note)
    return ProgressEvent(done=0, total=1, code=code, args=args)


def failure(error: Exception) -> FailedEvent:
    text = "".join(traceback.format_exception(error))
    code, args = why(error)
    text = "" if isinstance(error, InvalidJob) else text
    return FailedEvent(code=code, args=args, traceback=text, memory=process_memory())


def why(error: Exception) -> tuple[str, dict[str, str]]:
    """The reason as a code of labs.reasons with its arguments; the supervisor adds the figures that it knows."""
    if isinstance(error, InvalidJob):
        return "invalid-job", {"error": str(error)[:ERROR_CHARACTERS]}
    if isinstance(error, NotFinite):
        return "diverged", error.details
    if isinstance(error, Diverged):
        return error.code, {"point": error.point, "step": str(error.step)}
    if isinstance(error, BadArtifact):
        return "bad-artifact", {"name": str(error)[:ERROR_CHARACTERS]}
    if code := DISK_ERRORS.get(system_error(error)):
        return code, {}
    return memory_reason(error) or ("raised", {"error": f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS]})


def system_error(error: Exception) -> int:
    """The number of an operating system's error; safetensors tells it only in its text."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else 0


def memory_reason(error: Exception) -> tuple[str, dict[str, str]] | None:
    """Whether Python, torch on CUDA or torch's CPU allocator ran out of memory."""
    # By name, because torch need not have been imported when something fails.
    if type(error).__name__ == "OutOfMemoryError":
        return "out-of-gpu-memory", {}
    is_torch = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return ("out-of-memory", {}) if is_torch or isinstance(error, MemoryError) else None


if __name__ == "__main__":
    sys.exit(main())
