"""How a training can end other than well."""

from typing import Literal


class Diverged(ArithmeticError):
    """Training went wrong in a way that has a name; there is no number to report.

    `reason` says which: the loss or the gradient was not finite, or the loss rose above what a model that guesses
    without any knowledge would have twice over.
    """

    def __init__(self, reason: Literal["loss not finite", "gradient not finite", "loss too high"], step: int) -> None:
        super().__init__(f"diverged: {reason} at step {step}")
        self.reason = reason
        self.step = step
        self.point = "base"  # of the sweep in which it happened: known once the exception has left it

    @property
    def code(self) -> str:
        """What labs.reasons calls it."""
        return self.reason.replace(" ", "-")
