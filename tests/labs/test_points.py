"""Names of sweep points."""

import pytest

from labs.points import parse_point, point_key


def test_settings_are_in_alphabetical_order():
    assert point_key(scaling="constant", rank=8) == "rank=8,scaling=constant"
    assert point_key() == ""


@pytest.mark.parametrize("value", ["a,b", "a=b"])
def test_a_value_that_could_be_misread_is_refused(value):
    with pytest.raises(ValueError, match="no comma, no equals sign"):
        point_key(target_modules=value)


@pytest.mark.parametrize("key", ["", "rank=8", "dtype=float32,shape=1x64,variant=base"])
def test_a_key_can_be_taken_apart(key):
    assert point_key(**parse_point(key)) == key


def test_parsed_settings_are_strings():
    assert parse_point("rank=8,scaling=double") == {"rank": "8", "scaling": "double"}
