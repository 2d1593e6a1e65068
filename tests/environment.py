"""Loaded by pytest before Django's settings (`-p tests.environment`): tests keep away from the developer's data."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

data_dir = Path(tempfile.mkdtemp(prefix="proofdeck-tests-"))
atexit.register(shutil.rmtree, data_dir, ignore_errors=True)

# Converted weights are only read; converting them again for every test run would take most of its time.
models = Path(os.environ.get("DATA_DIR") or "var").resolve() / "models"
if models.is_dir():
    (data_dir / "models").symlink_to(models)

# Playwright's synchronous API leaves an event loop in the thread, which Django would take for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
os.environ["DATA_DIR"] = str(data_dir)
os.environ["SECRET_KEY"] = "known to the tests only"
os.environ["LAB_MODELS"] = "smollm2-135m,minilm-l6,tiny"
