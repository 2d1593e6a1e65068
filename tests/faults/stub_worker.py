"""The real worker, whose runs are children of stub_child.py: `celery -A tests.faults.stub_worker worker`."""

import sys
from pathlib import Path

from tests.stack.processes import MARKER
from worker import supervise
from worker.app import app

__all__ = ["app"]

supervise.KEPT_VARIABLES.append(MARKER)
supervise.COMMAND = (sys.executable, str(Path(__file__).with_name("stub_child.py")))
