"""PostgreSQL and Redis servers of the test's own, from the system's binaries, in temporary folders."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from tests.stack.processes import free_port, need, until


@contextmanager
def _process(command: list[str], **options: object) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def postgres_binaries() -> Path | None:
    """The newest installation's folder. Debian keeps the server's programs off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@contextmanager
def postgres_server() -> Iterator[str]:
    """URL of an empty database. PostgreSQL refuses to run as root, so there it runs as `postgres`."""
    binaries = postgres_binaries()
    need(binaries, "PostgreSQL")
    as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="proofdeck-postgres-"))
    if as_user:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
    port = free_port()
    try:
        initdb = [str(binaries / "initdb"), "-D", str(folder / "db"), "-A", "trust", "-U", "proofdeck", "-E", "UTF8"]
        subprocess.run([*initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)
        options = ["-k", str(folder), "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-p", str(port)]
        with _process([str(binaries / "postgres"), "-D", str(folder / "db"), *options], cwd=folder, **as_user):
            server = f"postgres://proofdeck@127.0.0.1:{port}"
            until(lambda: _create_database(f"{server}/postgres"), seconds=30, what="PostgreSQL")
            yield f"{server}/proofdeck"
    finally:
        shutil.rmtree(folder)


def _create_database(url: str) -> bool:
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE proofdeck")
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """URL of an empty Redis server that asks for a password."""
    binary = shutil.which("redis-server")
    need(binary, "redis-server")
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--requirepass", "test-password"]
    with _process([str(binary), *options], cwd=folder):
        url = f"redis://:test-password@127.0.0.1:{port}/0"
        until(lambda: _answers(url), seconds=10, what="Redis")
        yield url


def _answers(url: str) -> bool:
    try:
        with Redis.from_url(url) as client:
            return bool(client.ping())
    except RedisError:
        return False
