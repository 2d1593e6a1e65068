"""The process that computes one run: `python -m worker.child` reads a job and writes events (see worker.protocol).

It knows neither database nor broker. Only events reach standard output: whatever a library prints goes to standard
error, so that it cannot corrupt the stream.
"""

import argparse
import ctypes
import os
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

from labs.catalog import UnknownLab, get_lab, module_name
from labs.declaration import Lab, Parameters
from worker import environment
from worker.context import NotFinite, RunContext
from worker.models.store import model_digest, model_source, prepare
from worker.protocol import DoneEvent, EnvironmentEvent, Event, FailedEvent, Job, ProgressEvent

PR_SET_PDEATHSIG = 1  # from linux/prctl.h

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
        raise InvalidJob(f"The job is not valid: {error}") from error


def run(job: Job, emit: Emit) -> None:
    """Validate the job, describe where it runs, run the experiment."""
    started = time.perf_counter()
    lab, params = validate(job)
    limit_memory(job)
    torch_device = prepare_torch()
    emit(EnvironmentEvent(environment=describe(job, params, emit)))
    experiment = import_module(f"worker.experiments.{module_name(lab.slug)}")
    ready = time.perf_counter()
    experiment.run(params, RunContext(job, lab, emit, torch_device))
    ended = time.perf_counter()
    emit(DoneEvent(durations={"setup": ready - started, "run": ended - ready, "total": ended - started}))


def validate(job: Job) -> tuple[Lab, Parameters]:
    """The lab and its parameters, before anything heavy is imported."""
    try:
        lab = get_lab(job.lab)
        params = lab.parameters.model_validate(job.params)
        if hasattr(params, "model"):
            model_source(params.model)
    except (UnknownLab, ValueError) as error:
        raise InvalidJob(f"The job is not valid: {error}") from error
    if not Path(job.scratch).is_dir():
        raise InvalidJob(f"The job is not valid: scratch is not a folder: {job.scratch}")
    return lab, params


def limit_memory(job: Job) -> None:
    """Let allocations beyond the limit fail, so that the run can still say why it ended."""
    if job.memory_limit_mb:
        limit = job.memory_limit_mb * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def prepare_torch() -> str:
    """Import torch, set its threads, and return the device."""
    import torch

    torch.set_num_threads(environment.thread_count())
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe(job: Job, params: Parameters, emit: Emit) -> dict[str, object]:
    from worker.data.sets import digests

    name = getattr(params, "model", "")
    models_dir = Path(job.models_dir)
    prepare([name] if name else [], models_dir, lambda note: emit(ProgressEvent(done=0, total=1, note=note)))
    return environment.describe(name, model_digest(name, models_dir) if name else "", digests())


def failure(error: Exception) -> FailedEvent:
    """The error in plain words, with what to change where we know it."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, InvalidJob):
        return FailedEvent(reason=str(error))
    if isinstance(error, NotFinite):
        return FailedEvent(reason=str(error), advice="Lower the learning rate, or alpha.", traceback=text)
    if is_out_of_memory(error):
        return FailedEvent(
            reason="The run needed more memory than it may use.",
            advice="Choose a smaller batch size, smaller ranks or a smaller model, or raise RUN_MEMORY_LIMIT_MB.",
            traceback=text,
        )
    return FailedEvent(reason=f"The experiment raised {type(error).__name__}: {error}", traceback=text)


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, torch on CUDA or torch's CPU allocator ran out of memory."""
    if isinstance(error, MemoryError):
        return True
    # By name, because torch need not have been imported when something fails.
    is_torch = type(error).__name__ == "OutOfMemoryError"
    return is_torch or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


if __name__ == "__main__":
    sys.exit(main())
