"""Compiles the interface translations; the machine needs no gettext tools for it."""

import os
from pathlib import Path

import polib
from django.conf import settings


def compile_catalogues() -> list[Path]:
    """Write the .mo file beside every .po file where it is missing or older; returns what was written."""
    written = []
    for folder in settings.LOCALE_PATHS:
        for source in sorted(Path(folder).glob("*/LC_MESSAGES/*.po")):
            target = source.with_suffix(".mo")
            if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
                continue
            # Written aside and moved: a server that starts meanwhile never reads half a file.
            partial = target.with_suffix(f".mo.{os.getpid()}")
            polib.pofile(str(source)).save_as_mofile(str(partial))
            partial.replace(target)
            written.append(target)
    return written
