"""Arithmetic that claims, questions and labs share, by the name under which content refers to it.

Every function is pure, and every argument is an int, a float, a bool or a string, so that a content file can name it.
One module an area; each ends with its own FORMULAS.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules


def _collect() -> dict[str, Callable[..., float]]:
    """The formulas of all modules; a name that two modules use is an error."""
    found: dict[str, Callable[..., float]] = {}
    for module in iter_modules(__path__):
        formulas: dict[str, Callable[..., float]] = import_module(f"{__name__}.{module.name}").FORMULAS
        if twice := found.keys() & formulas.keys():
            raise ValueError(f"Formulas defined twice: {', '.join(sorted(twice))}")
        found |= formulas
    return found


FORMULAS = _collect()
