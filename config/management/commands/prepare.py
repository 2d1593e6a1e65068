"""`manage.py prepare`: everything that has to be there before a start, and is made once."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

from config import accounts
from kb.catalogues import compile_catalogues
from worker.models.store import is_prepared


class Command(BaseCommand):
    help = "Prepare database, translations, static files, models and content; what is done already is skipped."

    def handle(self, **options: Any) -> None:
        steps: dict[str, Callable[[], str]] = {
            "database": self.migrate,
            "translations": self.compile_translations,
            "static files": self.collect_static_files,
            "models": self.convert_models,
            "content": self.import_content,
            "logins": self.create_logins,
        }
        for name, step in steps.items():
            self.say(name, step())

    def say(self, name: str, text: str) -> None:
        self.stdout.write(f"prepare | {name}: {text}")
        self.stdout.flush()

    def migrate(self) -> str:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not plan:
            return "up to date"
        call_command("migrate", verbosity=0, interactive=False)
        return f"{len(plan)} migration(s) applied"

    def compile_translations(self) -> str:
        compiled = compile_catalogues()
        return f"{len(compiled)} compiled" if compiled else "up to date"

    def collect_static_files(self) -> str:
        """Compressing takes seconds, so it is done only when a source file changed."""
        if settings.DEBUG:
            return "served from their sources (DEBUG)"
        stamp = settings.DATA_DIR / "static.digest"
        digest = static_digest()
        if stamp.exists() and stamp.read_text() == digest and settings.STATIC_ROOT.exists():
            return "up to date"
        call_command("collectstatic", verbosity=0, interactive=False)
        stamp.write_text(digest)
        return "collected and compressed"

    def convert_models(self) -> str:
        """Conversion loads torch, in a process of its own."""
        try:
            missing = [name for name in settings.LAB_MODELS if not is_prepared(name, settings.MODELS_DIR)]
        except ValueError as e:
            raise CommandError(f"LAB_MODELS: {e}") from e
        if not missing:
            return "ready"
        self.say("models", f"preparing {', '.join(missing)} (about half a minute, once)")
        command = [sys.executable, "-m", "worker.models", "prepare", *missing, "--cache", str(settings.MODELS_DIR)]
        if subprocess.call(command, cwd=settings.BASE_DIR):
            raise CommandError("models: the conversion failed, see the lines above")
        return "ready"

    def import_content(self) -> str:
        said = io.StringIO()
        call_command("import_content", stdout=said)
        return said.getvalue().strip()

    def create_logins(self) -> str:
        if not accounts.are_made():
            return "none made on a database server, use `manage.py createsuperuser`"
        created = accounts.demo_accounts_create()
        return f"created {', '.join(created)}" if created else "up to date"


def static_digest() -> str:
    """Changes with the path, size or time of a static file, and with the storage that serves them."""
    digest = hashlib.sha256(json.dumps(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            stat = Path(storage.path(path)).stat()
            digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
