"""The review's SQL (its queue, its sums, its locks) says the same on PostgreSQL."""

import os
import subprocess
import sys

from django.conf import settings

from tests.stack.servers import postgres_server

# Not the replays: they change one row thousands of times in one transaction, and PostgreSQL keeps every version.
TESTED = [f"tests/review/test_{name}.py" for name in ("services", "pages", "api", "days", "rescheduling")]


def test_the_review_passes_its_tests_on_postgres() -> None:
    with postgres_server() as url:
        environment = os.environ | {"DATABASE_URL": url, "SECRET_KEY": "known to the test only"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTED]
        done = subprocess.run(
            command, check=False, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, timeout=600
        )
    assert done.returncode == 0, done.stdout[-4000:]
