"""What a quiz was built from: validated once, kept in `Sitting.options`."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_QUESTIONS = 100
MAX_FOLLOW_UPS = 5  # after one question; an interviewer rarely goes further
MAX_SEARCH = 200  # characters

State = Literal["new", "weak", "due", "wrong"]
Feedback = Literal["immediate", "end"]
Kind = Literal["open", "single", "multi", "numeric", "parametric", "order", "cloze"]


class QuizOptions(BaseModel):
    """Empty lists leave a filter out; several states mean any of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: list[str] = []
    easiest: int = Field(1, ge=1, le=5)
    hardest: int = Field(5, ge=1, le=5)
    kinds: list[Kind] = []
    states: list[State] = []
    search: str = Field("", max_length=MAX_SEARCH)
    mistakes: bool = False  # only questions whose last answer was wrong
    count: int = Field(10, ge=1, le=MAX_QUESTIONS)
    feedback: Feedback = "immediate"
    certainty: bool = False
    follow_ups: int = Field(0, ge=0, le=MAX_FOLLOW_UPS)  # at most so many after each question
    questions: list[str] = []  # slugs chosen by hand or by another page; overrides every filter

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.easiest > self.hardest:
            raise ValueError(f"Invalid difficulty {self.easiest} to {self.hardest}; the first must not be higher")
        return self

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
