"""Why a run is in its state, and what it does just now: codes with arguments, shown in the reader's language.

Rows and the child process of a run carry a code and its arguments; the text is made where it is read. A lab's author
may write notes of their own: the code OWN, with the text itself as arguments, in one or both languages.
"""

from typing import Any

from django.utils.translation import gettext_lazy as _

from kb.text import Text

OWN = "own"

REASONS = {
    # waiting
    "broker-down": _("Waiting for the queue: the broker does not answer. The run starts when it does."),
    "worker-stopped": _("Its worker was stopped. The run waits for the next one; what was finished is kept."),
    "worker-lost": _("Its worker fell silent. The run waits for another one; what was finished is kept."),
    # computed where they are shown: labs.waiting
    "no-worker": _("Waits: no worker is running. Start one."),
    "no-gpu": _("Waits: no worker with a GPU is running; start one, or choose the standard preset."),
    "no-gpu-memory": _(
        "Waits: no worker with a GPU of %(gpu_memory_mb)s GB is running; start one, or choose the standard preset."
    ),
    "no-memory": _(
        "Waits: no worker with %(memory_mb)s GB of memory is running; start one, or choose a smaller preset."
    ),
    "own-running": _(
        "Waits: your runs under way are %(count)s, the limit is %(limit)s. It starts when one of them ends."
    ),
    "in-line": _("Waits for a free worker. Runs before it in the queue: %(count)s."),
    "next-in-line": _("Waits for a free worker. It is the next in the queue."),
    # under way
    "shared": _("Several workers compute its points."),
    # ended
    "cancelled": _("The run was cancelled."),
    "cancelled-early": _("Cancelled before it started."),
    "too-many-losses": _(
        "%(count)s workers in a row fell silent while they worked on this run, the last one was %(worker)s. Most "
        "likely the machine ran out of memory: choose a smaller batch size or a smaller model. What was finished is "
        "kept."
    ),
    "timed-out": _(
        "The run took longer than the limit of %(seconds)s seconds. Choose fewer points or steps, or raise "
        "RUN_TIME_LIMIT. What was finished is kept."
    ),
    "memory-limit": _(
        "The run held %(peak)s GB of memory, over the limit of %(limit)s GB. Lower the batch size or the sequence "
        "length, turn on gradient checkpointing, or raise RUN_MEMORY_LIMIT_MB. What was finished is kept."
    ),
    "out-of-memory": _(
        "The run asked for more memory than the %(limit)s GB it may use (it held %(peak)s GB). Lower the batch size or "
        "the sequence length, turn on gradient checkpointing, or raise RUN_MEMORY_LIMIT_MB. What was finished is kept."
    ),
    "out-of-gpu-memory": _(
        "The GPU ran out of memory. Lower the batch size or the sequence length, turn on gradient checkpointing, or "
        "load the model in 4 bits. What was finished is kept."
    ),
    "killed": _(
        "The process was killed, most likely because the machine ran out of memory (it held %(peak)s GB). Lower the "
        "batch size or the sequence length, or choose a smaller model. What was finished is kept."
    ),
    "disk-limit": _(
        "The run's files passed the limit of %(limit)s MB. Keep fewer checkpoints, or raise RUN_DISK_LIMIT_MB. What "
        "was finished is kept."
    ),
    "disk-full": _("The disk of the worker is full. Free space on it and run again; what was finished is kept."),
    "diverged": _("Diverged: %(metric)s at %(point)s (%(where)s) was %(value)s. Lower the learning rate, or alpha."),
    "loss-not-finite": _(
        "Training diverged: in step %(step)s of %(point)s the loss was not finite. Lower the learning rate or alpha, "
        "or add warm-up steps. What was finished is kept."
    ),
    "gradient-not-finite": _(
        "Training diverged: in step %(step)s of %(point)s the gradient was not finite. Lower the learning rate or "
        "alpha, or add warm-up steps. What was finished is kept."
    ),
    "loss-too-high": _(
        "Training diverged: in step %(step)s of %(point)s the loss was more than twice that of guessing at random. "
        "Lower the learning rate or alpha, or add warm-up steps. What was finished is kept."
    ),
    "points-failed": _(
        "Points that could not be computed (%(count)s): %(points)s. The first of them: %(reason)s "
        "What was finished is kept."
    ),
    "not-computed": _("The experiment did not compute this point."),
    "raised": _("The experiment raised %(error)s"),
    "invalid-job": _("The job is not valid: %(error)s"),
    "ended-early": _("The process ended with exit code %(code)s before the run was done."),
    "ended-by-signal": _("The process ended by signal %(signal)s before the run was done."),
    "broken-stream": _("The run sent something that is not an event: %(line)s"),
    "endless-line": _("The run sent a line without end."),
    "bad-artifact": _("The run may not keep the file %(name)s: it is outside the run's folder, or not a plain file."),
    "worker-failed": _("The worker itself failed: %(error)s"),
}


def message(code: str, args: dict[str, Any]) -> str:
    """The text of a code; the code itself where this version does not know it, or its arguments."""
    if not code:
        return ""
    try:
        if code == OWN:
            return str(Text(**args))
        # The reason of something else may be among the arguments.
        return str(REASONS[code]) % {k: message(**v) if isinstance(v, dict) else v for k, v in args.items()}
    except (KeyError, TypeError, ValueError):
        return code


def own(text: Text | str) -> tuple[str, dict[str, str]]:
    """Code and arguments of a note in somebody's own words; a plain string stands for both languages."""
    if isinstance(text, str):
        return (OWN, {"en": text}) if text else ("", {})
    return OWN, text.model_dump()
