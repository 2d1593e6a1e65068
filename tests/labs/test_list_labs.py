import json
from io import StringIO

import pytest
from django.core.management import call_command

from labs.catalog import all_labs

pytestmark = pytest.mark.django_db


def listed(**options) -> str:
    out = StringIO()
    call_command("list_labs", stdout=out, **options)
    return out.getvalue()


def test_it_names_every_lab_with_its_durations():
    documents = json.loads(listed(json=True))
    assert [document["slug"] for document in documents] == list(all_labs())
    assert all(preset["expected_seconds"] > 0 for d in documents for preset in d["presets"].values())


def test_it_is_one_line_a_lab_without_json():
    assert len(listed().splitlines()) == len(all_labs())
