"""The labs, found by their files: `labs/catalog/<module>.py`, each with a twin in `worker/experiments/`."""

import pkgutil
from functools import cache
from importlib import import_module

from labs.declaration import Lab


class UnknownLab(LookupError):
    """No lab has that slug."""


@cache
def all_labs() -> dict[str, Lab]:
    """Every lab by slug, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    labs: list[Lab] = [import_module(f"{__name__}.{name}").LAB for name in names]
    return {lab.slug: lab for lab in labs}


def get_lab(slug: str) -> Lab:
    """The lab of that slug, or UnknownLab naming those that exist."""
    try:
        return all_labs()[slug]
    except KeyError:
        raise UnknownLab(f"Unknown lab {slug!r}; allowed: {', '.join(all_labs())}") from None


def module_name(slug: str) -> str:
    """The module that holds a lab, in this package and in worker.experiments."""
    return slug.replace("-", "_")
