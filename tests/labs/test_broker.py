"""Handing tasks over."""

import pytest

from labs.broker import BrokerDown, app, send


def test_a_broker_that_is_down_is_known_at_once(monkeypatch):
    """Nobody reads results, and their store would be tried for 20 seconds before the broker is."""
    monkeypatch.setattr(app.backend, "on_task_call", lambda *_args: pytest.fail("asked the store of results"))
    with pytest.raises(BrokerDown, match="Error"):
        send("worker.reschedule", 1)
