"""The canonical name of a sweep point: `rank=8,scaling=constant`."""

from typing import Any


def point_key(**settings: Any) -> str:
    """The settings in alphabetical order, joined by commas; no settings give the empty key."""
    for name, value in settings.items():
        if any(c in str(value) for c in ",="):
            raise ValueError(f"Invalid value for point setting {name}: {value!r} (no comma, no equals sign)")
    return ",".join(f"{name}={settings[name]}" for name in sorted(settings))


def parse_point(key: str) -> dict[str, str]:
    """The settings in a key, as strings."""
    return dict(part.split("=", 1) for part in key.split(",") if part)
