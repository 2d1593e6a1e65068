"""What a lab declares about itself.

The web form, the API schema, validation, charts and the documentation all derive from this. Declarations import
neither Django models nor torch: the web process and the child process of a run both load them.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kb.text import Text

PresetName = Literal["quick", "standard", "gpu"]
Group = Literal["mechanics", "methods", "quantisation", "memory"]

GROUPS: dict[Group, Text] = {
    "mechanics": Text(en="How LoRA works", zh="LoRA 的机制"),
    "methods": Text(en="Variants and relatives", zh="变体与同类方法"),
    "quantisation": Text(en="Quantisation", zh="量化"),
    "memory": Text(en="Memory", zh="显存"),
}

# A model by its name on the allow-list (setting LAB_MODELS); which names are allowed is checked in labs.parameters,
# because it is the operator's decision and not the lab's.
ModelName = Annotated[str, Field(max_length=100, json_schema_extra={"format": "model"})]


class Parameters(BaseModel):
    """Base class of a lab's parameters: typed, bounded, nothing unknown, every field with a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def needed_model(self) -> str:
        """The model whose weights a run needs; empty for a lab that needs none, whatever its fields are called."""
        field = type(self).model_json_schema()["properties"].get("model", {})
        return str(getattr(self, "model", "")) if field.get("format") == "model" else ""


def parameter(default: Any, title: Text, help: Text, **constraints: Any) -> Any:
    """A parameter field with a title and a help text in both languages, and bounds such as `ge` and `le`."""
    return Field(default, **_texts(title, help), **constraints)


def described(title: Text, help: Text, **constraints: Any) -> Any:
    """The same without a default, for the type of a parameter that several labs share (labs.shared)."""
    return Field(**_texts(title, help), **constraints)


def explained(default: Any, help: Text) -> Any:
    """A parameter of a described type, with a help text of the lab's own."""
    return Field(default, description=help.en, json_schema_extra={"description_zh": help.zh})


def _texts(title: Text, help: Text) -> dict[str, Any]:
    extra = {"title_zh": title.zh, "description_zh": help.zh}
    return {"title": title.en, "description": help.en, "json_schema_extra": extra}


@dataclass(frozen=True)
class Metric:
    """One quantity that a lab logs.

    `stochastic` is False only where the same parameters give the same value for every seed (a parameter count):
    a single seed settles such a metric and no other.
    """

    name: str
    title: Text
    unit: str
    stochastic: bool = True
    better: Literal["lower", "higher", ""] = ""


NO_TEXT = Text()


@dataclass(frozen=True)
class Chart:
    """A picture of one metric: `x` and `series` name settings of the points.

    In a heat map the metric is the shade, `x` counts the columns and `series` the rows, in the order of
    `series_titles` where these are given. In a scatter chart every point is a mark named by its `x`, and `x_metric` is
    the metric of the horizontal axis; where both metrics say which direction is `better`, the Pareto front is drawn.
    `x_titles` are the names of bars and marks. Points that lack `x` are left out, and so are points whose settings
    contradict `where`.
    """

    metric: str
    title: Text
    x: str
    series: str = ""
    kind: Literal["line", "bar", "heat", "scatter"] = "line"
    log_x: bool = False
    log_y: bool = False
    x_title: Text = NO_TEXT
    x_titles: dict[str, Text] = field(default_factory=dict)
    x_metric: str = ""
    series_titles: dict[str, Text] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Guess:
    """What a learner may predict before a run, of a metric at points that the presets have.

    `value`: the number at the one point. `order`: the points from the smallest value to the largest. `which`: the
    points where the value is at most `at_most`.
    """

    slug: str
    kind: Literal["value", "order", "which"]
    text: Text
    metric: str
    points: tuple[str, ...]
    at_most: float = 0.0


@dataclass(frozen=True)
class Needs:
    """What a machine has to have for a run: so much memory, a GPU, so much memory on that. 0 MB is any."""

    memory_mb: int = 0
    gpu: bool = False
    gpu_memory_mb: int = 0

    def document(self) -> dict[str, Any]:
        """As it is stored with a run: only what is needed."""
        return {name: value for name, value in asdict(self).items() if value}


ANYWHERE = Needs()


@dataclass(frozen=True)
class Preset:
    """Ready-made parameters. `expected_seconds` is a first guess (on two CPU cores, for `gpu` on one GPU), until this
    site knows better. The preset `gpu` needs a GPU, whether it says so or not."""

    params: dict[str, Any]
    seeds: tuple[int, ...]
    expected_seconds: int
    needs: Needs = ANYWHERE


def one(params: Any) -> float:
    """The work of a lab that does not say how its work grows with its parameters: then only the seeds count."""
    return 1.0


@dataclass(frozen=True)
class Lab:
    """A lab: what it asks, what can be set, what it measures and how that is drawn.

    `version` goes up when the experiment's code changes what its numbers mean; evidence of an older one is stale.
    `takeaway` is what to say in the interview, Markdown, and may hold `[[claim:…]]`. `work` is how much there is to
    compute for one seed, in any unit: it bounds what learners may ask for, beside the presets.

    `points` says of parameters and seeds which points (key, seed) are most of the work and can be computed apart, so
    that several workers may share them; the experiment then computes what `is_due` and leaves the rest alone.
    """

    slug: str
    group: Group
    version: int
    title: Text
    question: Text
    summary: Text
    takeaway: Text
    parameters: type[Parameters]
    metrics: tuple[Metric, ...]
    charts: tuple[Chart, ...]
    presets: dict[PresetName, Preset]
    guesses: tuple[Guess, ...] = ()
    points: Callable[[Any, Sequence[int]], list[tuple[str, int]]] | None = None
    work: Callable[[Any], float] = one

    def metric(self, name: str) -> Metric:
        """The metric of that name; KeyError names the lab and what it has."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(f"Lab {self.slug} has no metric {name!r}; it has {', '.join(m.name for m in self.metrics)}")

    def needs(self, preset: str) -> Needs:
        """What a run from that preset needs; own parameters from nowhere run on any machine."""
        if preset not in self.presets:
            return ANYWHERE
        needs = self.presets[preset].needs
        return replace(needs, gpu=True) if preset == "gpu" or needs.gpu_memory_mb else needs
