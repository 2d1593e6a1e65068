"""From a wish to a lab's validated parameters; errors name field, value and what is allowed."""

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from pydantic import ValidationError

from labs.declaration import Lab, Parameters

MAX_SEEDS = 10
MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class ParameterError:
    """One thing wrong with one field."""

    field: str
    value: Any
    allowed: str

    def __str__(self) -> str:
        return f"{self.field} = {json.dumps(self.value, default=str)[:80]}: {self.allowed}"


class ParameterErrors(ValueError):
    """The parameters do not fit the lab."""

    def __init__(self, errors: list[ParameterError]) -> None:
        self.errors = errors
        super().__init__("; ".join(str(error) for error in errors))

    def by_field(self) -> dict[str, list[str]]:
        fields: dict[str, list[str]] = {}
        for error in self.errors:
            fields.setdefault(error.field, []).append(str(error))
        return fields


def validate(lab: Lab, raw: dict[str, Any]) -> Parameters:
    """The lab's parameters with defaults filled in; ParameterErrors lists everything that is wrong."""
    if not isinstance(raw, dict):
        raise ParameterErrors([ParameterError("params", raw, "allowed: a JSON object of parameters")])
    try:
        params = lab.parameters.model_validate(raw, strict=False)
    except ValidationError as e:
        raise ParameterErrors([_from_pydantic(lab, dict(error)) for error in e.errors(include_url=False)]) from None
    errors = list(_forbidden_models(lab, params))
    if errors:
        raise ParameterErrors(errors)
    return params


def validate_seeds(seeds: list[Any]) -> list[int]:
    """Distinct whole numbers from 0; ParameterErrors otherwise."""
    allowed = f"allowed: 1 to {MAX_SEEDS} different whole numbers from 0 to {MAX_SEED}"
    is_valid = (
        isinstance(seeds, list)
        and 0 < len(seeds) <= MAX_SEEDS
        and all(type(s) is int and 0 <= s <= MAX_SEED for s in seeds)
        and len(set(seeds)) == len(seeds)
    )
    if not is_valid:
        raise ParameterErrors([ParameterError("seeds", seeds, allowed)])
    return seeds


def parameter_schema(lab: Lab) -> dict[str, Any]:
    """JSON Schema of the lab's parameters; model fields list the models that this site allows."""
    schema = lab.parameters.model_json_schema()
    for field in schema["properties"].values():
        if field.get("format") == "model":
            field["enum"] = list(settings.LAB_MODELS)
    return schema


def _forbidden_models(lab: Lab, params: Parameters) -> list[ParameterError]:
    allowed = ", ".join(settings.LAB_MODELS)
    fields = [name for name, field in parameter_schema(lab)["properties"].items() if field.get("format") == "model"]
    return [
        ParameterError(name, getattr(params, name), f"not on the list of models of this site; allowed: {allowed}")
        for name in fields
        if getattr(params, name) not in settings.LAB_MODELS
    ]


def _from_pydantic(lab: Lab, error: dict[str, Any]) -> ParameterError:
    path = ".".join(str(part) for part in error["loc"]) or "params"
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return ParameterError(
            path, error["input"], f"unknown parameter; allowed: {', '.join(lab.parameters.model_fields)}"
        )
    bounds = _describe_bounds(parameter_schema(lab)["properties"].get(name, {}))
    message = error["msg"].removeprefix("Value error, ")
    return ParameterError(path, error["input"], f"{message}; allowed: {bounds}" if bounds else message)


def _describe_bounds(field: dict[str, Any]) -> str:
    """A field's JSON Schema in words: `integer from 1 to 256`."""
    if "enum" in field:
        return ", ".join(str(value) for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {field.get('minItems', 0)} to {field.get('maxItems', 'any number of')} × " + _describe_bounds(
            field.get("items", {})
        )
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum", field.get("exclusiveMaximum"))
    words = [str(field.get("type", ""))]
    words += [f"{'above' if 'exclusiveMinimum' in field else 'from'} {low}"] if low is not None else []
    words += [f"{'below' if 'exclusiveMaximum' in field else 'to'} {high}"] if high is not None else []
    return " ".join(words).strip()
