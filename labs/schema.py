"""How claims look in content files."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kb.schema import Slug, Source
from kb.text import Text

Method = Literal["formula", "simulation", "measurement", "citation"]


class CheckSource(Source):
    """One expectation and where to find the value that meets it or not.

    The expectation is `expected` with an `absolute` or a `relative` tolerance (neither: exactly), or a bound
    (`at_least`, `at_most`, both: an interval). The place is `formula` with `arguments`, or `lab`, `metric` and `point`.
    """

    label: Text = Text()  # which case this is, where a claim has several
    expected: float | None = None
    absolute: Annotated[float, Field(ge=0)] | None = None
    relative: Annotated[float, Field(ge=0, le=1)] | None = None
    at_least: float | None = None
    at_most: float | None = None
    formula: str = ""
    arguments: dict[str, Any] = {}
    lab: str = ""
    metric: str = ""
    point: str = ""

    @model_validator(mode="after")
    def _has_one_expectation(self) -> Self:
        has_bound = self.at_least is not None or self.at_most is not None
        if (self.expected is None) == (not has_bound):
            raise ValueError("a check needs either expected or at_least / at_most, and not both")
        if has_bound and (self.absolute is not None or self.relative is not None):
            raise ValueError("absolute and relative belong to expected, not to a bound")
        if self.absolute is not None and self.relative is not None:
            raise ValueError("give an absolute or a relative tolerance, not both")
        return self


class ClaimSource(Source):
    """One checkable statement. `statement`, `often_said`, `note` and `assumptions` are Markdown."""

    slug: Slug
    topic: Slug
    method: Method
    statement: Text
    unit: str = ""
    often_said: Text = Text()  # the saying, where it differs from what we found
    note: Text = Text()  # what we found, and why
    assumptions: Text = Text()
    source: Annotated[str, Field(max_length=80)]  # reference key, or "folklore"
    place: str = ""  # table or section in the source
    cited: float | None = None  # the value that the source gives (method citation)
    settles: list[str] = []
    checks: list[CheckSource] = []

    @model_validator(mode="after")
    def _checks_fit_the_method(self) -> Self:
        if self.method == "citation":
            if self.checks:
                raise ValueError("a cited claim has no checks: only its source can say it")
            if self.source != "folklore" and not self.place:
                raise ValueError("a cited claim needs place: the table or section in the source")
            return self
        if not self.checks:
            raise ValueError(f"a claim of method {self.method} needs at least one check")
        for check in self.checks:
            if self.method == "formula" and (not check.formula or check.lab):
                raise ValueError("every check of a formula claim needs formula (and no lab)")
            if self.method != "formula" and (check.formula or not (check.lab and check.metric)):
                raise ValueError(f"every check of a {self.method} claim needs lab and metric (and no formula)")
        return self
