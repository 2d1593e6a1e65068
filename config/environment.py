"""Readers for settings that come from the environment.

A wrong value stops the start with the variable's name; nothing is guessed. Every variable that is read is kept in
`READ`, so that a test can compare them with the operator guide's table.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
from django.core.exceptions import ImproperlyConfigured

READ: set[str] = set()
# What the log must not say; `passwords` finds those that stand in a URL.
SECRETS: set[str] = set()


def env_str(name: str, default: str = "", *, choices: tuple[str, ...] = ()) -> str:
    READ.add(name)
    value = os.environ.get(name, "") or default
    if choices and value not in choices:
        raise ImproperlyConfigured(f"Unexpected value {name}={value!r}, use one of: {', '.join(choices)}")
    return value


def env_bool(name: str, default: bool) -> bool:
    return env_str(name, str(default), choices=("True", "False")) == "True"


def env_int(name: str, default: int, *, low: int, high: int) -> int:
    value = env_str(name, str(default))
    if not value.lstrip("-").isdigit() or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"Unexpected value {name}={value!r}, use a whole number from {low} to {high}")
    return int(value)


def env_list(name: str, default: list[str]) -> list[str]:
    return [part.strip() for part in env_str(name, ",".join(default)).split(",") if part.strip()]


def env_secret(name: str) -> str:
    """The variable, or the content of the file that `<name>_FILE` points to (docker secrets)."""
    path, value = env_str(f"{name}_FILE"), env_str(name)
    if path:
        try:
            value = Path(path).read_text().strip()
        except OSError as e:
            raise ImproperlyConfigured(f"Unexpected value {name}_FILE={path!r}: {e.strerror}") from e
    SECRETS.update(passwords(value) if "://" in value else [value])
    return value


def env_time_zone(name: str, default: str) -> str:
    value = env_str(name, default)
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise ImproperlyConfigured(f"Unexpected value {name}={value!r}, use a name like Europe/Berlin") from e


def broker_url(name: str, url: str) -> str:
    """The URL that came from the variable `name`, empty for the embedded broker."""
    if url and not url.startswith(("redis://", "rediss://", "redis+socket://")):
        raise ImproperlyConfigured(f"Unexpected value in {name}: use redis://:password@host:port/number")
    return url


def passwords(*urls: str) -> list[str]:
    """The passwords in these URLs, as written and as meant."""
    found = [urlsplit(url).password or "" for url in urls]
    return [*found, *map(unquote, found)]


def database_from_url(name: str, url: str) -> dict[str, Any]:
    """Django's database dictionary from a URL that came from the variable `name`."""
    config: dict[str, Any] = {}
    if url.startswith(("postgres://", "postgresql://", "sqlite:///")):
        config = environ.Env.db_url_config(url)
    if not config.get("NAME"):
        raise ImproperlyConfigured(
            f"Unexpected value in {name}: use postgres://user:password@host/name or sqlite:///path"
        )
    return config
