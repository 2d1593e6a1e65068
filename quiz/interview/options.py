"""How an interview was ordered, and how long its questions may take."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quiz.models import Question

Minutes = Literal[15, 30, 45, 60]
MINUTES: tuple[Minutes, ...] = (15, 30, 45, 60)
MOST_QUESTIONS = 30
LOWEST, HIGHEST = 1, 5

# What a good answer takes when it is said aloud: an open one grows with its difficulty, the graded kinds are short.
OPEN_SECONDS = {1: 120, 2: 150, 3: 180, 4: 240, 5: 300}
GRADED_SECONDS = {1: 60, 2: 90, 3: 120, 4: 150, 5: 180}
FOLLOW_UP_SHARE = 2 / 3  # of that, for a follow-up: its subject is on the table already


class InterviewOptions(BaseModel):
    """Kept in `Sitting.options`. Either a time or a number of questions ends the interview."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: Minutes | None = None
    questions: Annotated[int, Field(ge=1, le=MOST_QUESTIONS)] | None = None
    level: Annotated[int, Field(ge=LOWEST, le=HIGHEST)] = 3
    topics: list[str] = []  # slugs; none means all
    clock: bool = True
    grader: bool = False  # the learner agreed that answers go to the operator's grader

    @model_validator(mode="after")
    def _ends_one_way(self) -> Self:
        if (self.minutes is None) == (self.questions is None):
            raise ValueError("an interview ends after minutes or after a number of questions: give one of the two")
        return self


def allowed_seconds(kind: str, difficulty: int, *, is_follow_up: bool = False) -> int:
    """What the clock of a question starts with."""
    seconds = (OPEN_SECONDS if kind == Question.OPEN else GRADED_SECONDS)[difficulty]
    return round(seconds * FOLLOW_UP_SHARE) if is_follow_up else seconds
