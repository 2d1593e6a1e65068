"""A copy of everything that is not in the clone, and its way back.

The database is copied first, as of one moment and while the site runs; then the files of the runs, which never change
once a row names them, so that each row of the copy finds its file. The broker is left out, because its messages only
ring for runs that the database knows; models and static files, because `prepare` makes them again.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

MANIFEST, RUNS = "manifest.json", "runs"
# Kept beside an embedded database only; on servers they come from the operator.
SECRET_FILES = ("secret_key", "admin_password")
DATABASE_FILES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}


class BackupError(RuntimeError):
    """Nothing was changed, and why."""


def backup(parent: Path) -> Path:
    """Write a new folder below `parent`, readable by its owner alone; it gets its name when it is complete."""
    name = f"proofdeck-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    target, partial = parent / name, parent / f".{name}.partial"
    if target.exists():
        raise BackupError(f"{target} is there already")
    partial.mkdir(parents=True, mode=0o700)
    try:
        _dump_database(partial / DATABASE_FILES[connection.vendor])
        _copy_artifacts(settings.RUNS_DIR, partial / RUNS)
        for secret in SECRET_FILES:
            if (settings.DATA_DIR / secret).exists():
                shutil.copy2(settings.DATA_DIR / secret, partial / secret)
        (partial / MANIFEST).write_text(json.dumps(_manifest(partial), indent=1) + "\n")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def restore(folder: Path) -> None:
    """Put that backup in the place of the database and the runs' files. Web and workers must not run meanwhile."""
    manifest = _checked_manifest(folder)
    database = folder / DATABASE_FILES[connection.vendor]
    connection.close()
    _load_database(database)
    shutil.rmtree(settings.RUNS_DIR, ignore_errors=True)
    _copy_artifacts(folder / RUNS, settings.RUNS_DIR)
    for secret in SECRET_FILES:
        if secret in manifest["files"]:
            shutil.copy2(folder / secret, settings.DATA_DIR / secret)


# --- files ------------------------------------------------------------------------------------------------------------


def _copy_artifacts(source: Path, target: Path) -> None:
    """The files of finished work; a run's scratch folder is worth nothing without its process."""
    target.mkdir(parents=True, exist_ok=True)
    for folder in sorted(source.glob("*/artifacts")):
        shutil.copytree(folder, target / folder.parent.name / "artifacts")


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(folder: Path) -> dict[str, Any]:
    applied = MigrationRecorder(connection).applied_migrations()
    return {
        "version": settings.VERSION,
        "database": connection.vendor,
        "migrations": sorted(f"{app}.{name}" for app, name in applied),
        "files": _digests(folder),
    }


def _checked_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a backup that is whole, of this kind of database, and not newer than this code."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as e:
        raise BackupError(f"{folder} is not a complete backup: {e}") from e
    if manifest["database"] != connection.vendor:
        raise BackupError(f"the backup is of {manifest['database']}, this database is {connection.vendor}")
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    if unknown := set(manifest["migrations"]) - known:
        raise BackupError(f"the backup is of a newer version ({manifest['version']}): {', '.join(sorted(unknown))}")
    found = _digests(folder)
    if wrong := sorted(name for name in manifest["files"] if found.get(name) != manifest["files"][name]):
        raise BackupError(f"damaged or missing in the backup: {', '.join(wrong)}")
    return manifest


# --- databases --------------------------------------------------------------------------------------------------------


def _dump_database(target: Path) -> None:
    if connection.vendor == "sqlite":
        _copy_sqlite(Path(connection.settings_dict["NAME"]), target)
    else:
        _run_postgres("pg_dump", "--format=custom", "--no-owner", f"--file={target}")
    target.chmod(0o600)


def _load_database(source: Path) -> None:
    if connection.vendor == "sqlite":
        _copy_sqlite(source, Path(connection.settings_dict["NAME"]))
        return
    # Tables that the backup does not know have to go as well, or the next migration would find them in its way.
    empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
    with tempfile.TemporaryDirectory() as scratch:
        script = f"{scratch}/restore.sql"
        _run("pg_restore", "--no-owner", f"--file={script}", str(source))
        all_or_nothing = ("--single-transaction", "--set=ON_ERROR_STOP=1", "--quiet")
        _run_postgres("psql", *all_or_nothing, f"--command={empty}", f"--file={script}")


def _copy_sqlite(source: Path, target: Path) -> None:
    """SQLite's online backup: one consistent state, while others read and write."""
    reader, writer = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reader.backup(writer)
        writer.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        if (answer := writer.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise BackupError(f"the copy of the database is damaged: {answer}")
    finally:
        reader.close()
        writer.close()


def _run_postgres(program: str, *options: str) -> None:
    """One of PostgreSQL's programs on our database; `ps` does not show the password, which goes by the environment."""
    arguments, environment = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    _run(program, "--no-password", *options, *arguments[1:], **(environment or {}))


def _run(*command: str, **environment: str) -> None:
    try:
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as e:
        raise BackupError(f"{command[0]} is not installed; on Debian: apt install postgresql-client") from e
    if done.returncode:
        raise BackupError(f"{command[0]} failed: {done.stderr.strip()}")
