"""A backup of a site that runs, restored into an empty one, on both stacks."""

import psycopg

from tests.stack.processes import Stack, environment

MARK = "from django.contrib.auth.models import User; User.objects.create_user('kept')"
NAMES = "from django.contrib.auth.models import User; print(*User.objects.values_list('username', flat=True))"
COUNTS = """
from django.apps import apps
print({m._meta.label: m.objects.count() for m in apps.get_models() if m._meta.app_label in ("kb", "labs", "quiz")})
"""


def shell(stack: Stack, code: str) -> str:
    return stack.manage("shell", "-v", "0", "-c", code)


def empty_site(stack: Stack) -> Stack:
    """The same program with an empty data folder, and an empty database where that is a server's."""
    folder = stack.data_dir.parent / "restored"
    folder.mkdir()
    servers = {name: stack.environment[name] for name in ("REDIS_URL", "SECRET_KEY") if name in stack.environment}
    if url := stack.environment.get("DATABASE_URL"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE restored")
        servers["DATABASE_URL"] = url.rpartition("/")[0] + "/restored"
    return Stack(folder, environment(folder, **servers))


def test_a_copy_of_a_running_site_is_restored_into_an_empty_one(stack):
    shell(stack, MARK)
    saved = stack.manage("backup", str(stack.data_dir.parent / "backups")).strip()
    restored = empty_site(stack)
    restored.manage("restore", saved, "--replace")
    assert "kept" in shell(restored, NAMES).split()
    assert shell(restored, COUNTS) == shell(stack, COUNTS)
    assert "up to date" in restored.manage("prepare")
    restored.manage("restore", saved, "--replace")  # over a database that is not empty
    assert shell(restored, COUNTS) == shell(stack, COUNTS)
