"""Hearing of every training step, whichever lab trains: the child process of a run does, for the run's page."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from worker.protocol import Event, StepEvent

REPORT_SECONDS = 0.5  # at least so long between two reports
RECENT_STEPS = 20  # that the tokens per second are counted over


@dataclass(frozen=True)
class Step:
    """One step of a training; of several configurations trained together, the mean loss and the sum of tokens."""

    done: int  # steps, with this one
    total: int
    loss: float
    tokens: int  # without padding
    seconds: float


Listener = Callable[[Step], object]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Every step that is told in the `with` block goes to the listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(step: Step) -> None:
    if listener := _listener.get():
        listener(step)


class StepReporter:
    """Makes events of steps, not more often than a page can show them."""

    def __init__(self, emit: Callable[[Event], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._reported_at = float("-inf")
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT_STEPS)

    def __call__(self, step: Step) -> None:
        if step.done == 1:  # another training, which may be quicker or slower
            self._recent.clear()
        self._recent.append((step.tokens, step.seconds))
        if self._clock() - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = self._clock()
        self._emit(StepEvent(step=step.done, steps=step.total, loss=step.loss, tokens_per_second=self._rate()))

    def _rate(self) -> float:
        seconds = sum(seconds for _, seconds in self._recent)
        return sum(tokens for tokens, _ in self._recent) / seconds if seconds else 0.0
