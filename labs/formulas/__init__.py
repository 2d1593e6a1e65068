"""Arithmetic that claims, questions and labs share, by the name under which content refers to it.

Every function is pure, and every argument is an int, a float, a bool or a string, so that a content file can name it.
One module an area; each ends with its own FORMULAS. A name belongs to one module (tests/labs/test_formula_names.py).
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

# The formulas of each module by their names.
BY_MODULE: dict[str, dict[str, Callable[..., float]]] = {
    module.name: import_module(f"{__name__}.{module.name}").FORMULAS for module in iter_modules(__path__)
}
FORMULAS: dict[str, Callable[..., float]] = {
    name: formula for formulas in BY_MODULE.values() for name, formula in formulas.items()
}
