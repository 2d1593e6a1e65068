"""Every Python sample in the content runs."""

import re
from collections.abc import Iterator

import pytest
import yaml
from django.conf import settings

FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for child in children:
        yield from strings(child)


def samples() -> list:
    """The distinct samples, with the file of the first that shows each."""
    found: dict[str, str] = {}
    for path in sorted(settings.CONTENT_DIR.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "```python" not in text:
            continue
        for source in strings(yaml.load(text, Loader=yaml.CSafeLoader)):
            for code in FENCE.findall(source):
                found.setdefault(code, f"{path.stem}-{len(found)}")
    return [pytest.param(code, id=name) for code, name in found.items()]


@pytest.mark.parametrize("code", samples())
def test_the_sample_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "<sample>", "exec"), {"__name__": "sample"})  # noqa: S102 (our own content)
