"""What has moved since a run: a number says less, or nothing, when what it was measured on has changed.

Another version of the lab or other weights make it a number about something else. A library of another version need
not change it: the verdict stands, and pages say that it waits for a repetition.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings

# Lies in the folder of a prepared model, with the digest of its weights; a folder without it is not ready.
MARKER = "store.json"


@dataclass(frozen=True)
class Moved:
    name: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.name} {self.then} → {self.now}"


def weights_moved(environment: dict[str, Any]) -> list[Moved]:
    """The model, when its weights differ from those prepared here; one that is not here is not known."""
    model = environment.get("model") or {}
    name = model.get("name", "")
    return _moved({name: model.get("sha256", "")}, {name: _weights_here(name)})


def libraries_moved(environment: dict[str, Any]) -> list[Moved]:
    """Libraries of another version than the one installed, local labels such as `+cpu` aside."""
    recorded = environment.get("versions") or {}
    then = {name: _public(found) for name, found in recorded.items() if name != "python"}
    return _moved(then, {name: _version_here(name) for name in then})


def _moved(then: dict[str, str], now: dict[str, str]) -> list[Moved]:
    differing = [name for name in then if then[name] and now[name] and then[name] != now[name]]
    return [Moved(name, then[name], now[name]) for name in differing]


def _weights_here(name: str) -> str:
    marker = settings.MODELS_DIR / name / MARKER
    return str(json.loads(marker.read_text(encoding="utf-8"))["sha256"]) if name and marker.is_file() else ""


@cache
def _version_here(name: str) -> str:
    try:
        return _public(version(name))
    except PackageNotFoundError:
        return ""


def _public(found: str) -> str:
    return found.partition("+")[0]
