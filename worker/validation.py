"""Published memory measurements against the simulator: the data file, the comparison, and the page about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict

from labs.formulas.lora import BYTES_PER_UNIT
from labs.memory.closed_form import closed_form_parts
from labs.memory.recipe import Recipe

Quantity = Literal["allocated", "reserved"]
Unit = Literal["bytes", "GB", "GiB"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Strict):
    """Where measurements were published, and what is known of how they came about."""

    title: str
    repository: str
    folder: str
    hardware: str
    quantity: Quantity
    unit: Unit
    measured_by: str
    states: str
    not_stated: str


class Measurement(Strict):
    """One published value as it is printed, and the recipe that comes nearest to its settings."""

    source: str
    file: str
    commit: str
    setting: str
    published: str
    recipe: dict[str, Any]
    remark: str = ""


class LeftOut(Strict):
    what: str
    why: str


class Validation(Strict):
    sources: dict[str, Source]
    measurements: list[Measurement]
    left_out: list[LeftOut]

    def source_of(self, measurement: Measurement) -> Source:
        return self.sources[measurement.source]


class Simulated(Protocol):
    """What the comparison needs of a simulation."""

    @property
    def allocated_bytes(self) -> int: ...
    @property
    def reserved_bytes(self) -> int: ...


@dataclass(frozen=True)
class Comparison:
    """A published value, ours, and the whiteboard's sum where there is one; in bytes."""

    measurement: Measurement
    published: float
    ours: float
    closed_form: float | None = None

    @property
    def error(self) -> float:
        """Ours against theirs, in percent: above 0 we say more."""
        return self._error_of(self.ours)

    @property
    def closed_form_error(self) -> float | None:
        return None if self.closed_form is None else self._error_of(self.closed_form)

    def _error_of(self, size: float) -> float:
        return 100 * (size / self.published - 1)


def read(path: Path) -> Validation:
    """The data file; ValidationError where it does not fit."""
    return Validation.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def compare(validation: Validation, simulate: Callable[[Recipe], Simulated]) -> Iterable[Comparison]:
    """Simulate every recipe; equal ones once."""
    found: dict[Recipe, Simulated] = {}
    for measurement in validation.measurements:
        recipe = Recipe(**measurement.recipe)
        if recipe not in found:
            found[recipe] = simulate(recipe)
        source = validation.source_of(measurement)
        ours = found[recipe].reserved_bytes if source.quantity == "reserved" else found[recipe].allocated_bytes
        parts = closed_form_parts(recipe)
        total = None if parts is None else sum(parts.values())
        yield Comparison(measurement, float(measurement.published) * unit_bytes(source.unit), ours, total)


def unit_bytes(unit: Unit) -> int:
    return 1 if unit == "bytes" else BYTES_PER_UNIT[unit]


# --- the page ---------------------------------------------------------------------------------------------------------

HEAD = """# Memory: published measurements and ours

Written by `manage.py validate_memory` from `bench/memory_validation.yaml`; do not edit. Every row is a measurement that
somebody published with its settings, the recipe that comes nearest to them, and what the simulator says of that recipe
({versions}).
Nothing is fitted to these values. An error above zero means that we say more than was measured.

`allocated` is compared with what the simulated caching allocator has handed out at its peak (blocks are rounded, and
cuBLAS' workspace counts), `reserved` with what it has taken from the device by then. Neither has the CUDA context in
it. The closed form is the sum that fits on a whiteboard (`labs/memory/closed_form.py`), of live bytes alone; it covers
full fine-tuning and LoRA on blocks of LLaMA's shape.
"""


def page(validation: Validation, comparisons: list[Comparison], versions: str) -> str:
    """The page in Markdown."""
    parts = [HEAD.format(versions=versions), summary(comparisons)]
    for key, source in validation.sources.items():
        rows = [comparison for comparison in comparisons if comparison.measurement.source == key]
        parts += [source_text(source), table(source, rows), summary(rows), remarks(rows)]
    parts += ["## Left out", "\n".join(f"- {item.what}: {item.why}" for item in validation.left_out)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def summary(comparisons: list[Comparison]) -> str:
    """Median and extremes of the signed errors, and the same of the closed form."""
    text = f"{len(comparisons)} measurements: {spread([comparison.error for comparison in comparisons])}."
    sums = [error for comparison in comparisons if (error := comparison.closed_form_error) is not None]
    return text + (f" The closed form covers {len(sums)} of them: {spread(sums)}." if sums else "")


def spread(errors: list[float]) -> str:
    sizes = median(abs(error) for error in errors)
    return (
        f"median of the signed errors **{median(errors):+.1f} %**, the largest **{max(errors):+.1f} %**, the smallest "
        f"**{min(errors):+.1f} %**; median of their sizes {sizes:.1f} %"
    )


def source_text(source: Source) -> str:
    return (
        f"## {source.title}\n\n{source.hardware}; {source.quantity}: {source.measured_by}.\n\n"
        f"Stated: {source.states}\n\nNot stated, or different: {source.not_stated}"
    )


def table(source: Source, rows: list[Comparison]) -> str:
    unit = "GB" if source.unit == "bytes" else source.unit
    lines = [
        f"| setting | recipe | published ({unit}) | ours ({unit}) | error | closed form ({unit}) | error | from |",
        "|:--|:--|--:|--:|--:|--:|--:|:--|",
    ]
    for row in rows:
        published, ours = (f"{size / BYTES_PER_UNIT[unit]:.2f}" for size in (row.published, row.ours))
        formula = "–" if row.closed_form is None else f"{row.closed_form / BYTES_PER_UNIT[unit]:.2f}"
        formula_error = "–" if row.closed_form_error is None else f"{row.closed_form_error:+.1f} %"
        recipe = ", ".join(f"{key}={value}" for key, value in row.measurement.recipe.items())
        lines.append(
            f"| {row.measurement.setting} | `{recipe}` | {published} | {ours} | {row.error:+.1f} % | {formula} "
            f"| {formula_error} | {link(source, row.measurement)} |"
        )
    return "\n".join(lines)


def link(source: Source, measurement: Measurement) -> str:
    """The file at its commit."""
    path = f"{source.folder}/{measurement.file}".lstrip("/")
    name = measurement.file.rpartition("/")[2]
    return f"[{name}](https://github.com/{source.repository}/blob/{measurement.commit}/{path})"


def remarks(rows: list[Comparison]) -> str:
    """What is known of why a row is off."""
    return "\n".join(
        f"- {row.measurement.setting}: {' '.join(row.measurement.remark.split())}"
        for row in rows
        if row.measurement.remark
    )
