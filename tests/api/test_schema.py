"""The schema tells the truth about the API."""

import warnings

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, settings
from rest_framework.authtoken.models import Token
from schemathesis.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from config.wsgi import application
from labs import broker
from tests.builders import make_claim, make_follow_up, make_point, make_question, make_run, with_losses

# DRF reads "1" as an integer and ignores unknown fields, so what the schema calls wrong may be accepted; and only the
# lab that a run is asked of knows its parameters, so what the schema calls right may be refused.
# Every request here carries the token, whatever else is generated; who may do what is tested with each endpoint.
NOT_IN_THE_SCHEMA = [ignored_auth, negative_data_rejection, positive_data_acceptance]

schema = schemathesis.openapi.from_wsgi("/api/v1/schema/?format=json", application)


def test_the_schema_is_valid_and_was_made_without_warnings(capsys):
    with GENERATOR_STATS.silence(), warnings.catch_warnings():
        warnings.simplefilter("error")
        document = SchemaGenerator().get_schema(request=None, public=True)
        assert not GENERATOR_STATS, capsys.readouterr().err
    validate_schema(document)
    assert {"/api/v1/runs/{id}/cancel/", "/api/v1/labs/{slug}/", "/api/v1/token/"} <= set(document["paths"])


def test_the_schema_is_served_to_everybody(db, client):
    response = client.get("/api/v1/schema/")
    assert response.status_code == 200
    assert "openapi: 3.0" in response.content.decode()


@pytest.fixture
def _open_connection():
    """A request through WSGI ends with closing connections, which would end the test's own transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def token(alice: User, monkeypatch) -> str:
    """Of alice, on a site with something of everything."""
    monkeypatch.setattr(broker, "ring", lambda *_, **__: None)
    make_point()
    make_follow_up(make_question())
    make_claim()
    with_losses(make_run(), 1.0, 2.0)
    make_run(alice)
    return Token.objects.create(user=alice).key


@pytest.mark.usefixtures("_open_connection")
@schema.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_surprises_the_schema(case, token):
    case.call_and_validate(headers={"Authorization": f"Token {token}"}, excluded_checks=NOT_IN_THE_SCHEMA)
