"""From a wish to validated parameters; an error names the field, the value and what is allowed."""

import json
import random

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from labs.catalog import UnknownLab, all_labs, get_lab
from labs.parameters import MAX_SEED, ParameterErrors, parameter_schema, validate, validate_seeds
from labs.services import question_key, run_request

SWEEP = get_lab("rank-sweep")


def errors(raw) -> dict[str, list[str]]:
    with pytest.raises(ParameterErrors) as refused:
        validate(SWEEP, raw)
    return refused.value.by_field()


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        (
            {"steps": 0},
            "steps",
            "steps = 0: Input should be greater than or equal to 1; allowed: integer from 1 to 2000",
        ),
        ({"steps": 2001}, "steps", "allowed: integer from 1 to 2000"),
        ({"steps": "many"}, "steps", 'steps = "many": Input should be a valid integer'),
        ({"steps": 1.5}, "steps", "steps = 1.5: "),
        ({"steps": None}, "steps", "steps = null: "),
        ({"steps": "9" * 5000}, "steps", "allowed: integer from 1 to 2000"),
        ({"learning_rate": 0}, "learning_rate", "allowed: number above 0 to 0.1"),
        ({"learning_rate": "nan"}, "learning_rate", "allowed: number above 0 to 0.1"),
        ({"learning_rate": 1e308}, "learning_rate", "allowed: number above 0 to 0.1"),
        ({"ranks": []}, "ranks", "allowed: list of 1 to 12 × integer from 1 to 256"),
        ({"ranks": 8}, "ranks", "ranks = 8: "),
        ({"ranks": list(range(1, 14))}, "ranks", "allowed: list of 1 to 12 × integer from 1 to 256"),
        ({"ranks": [8, 512]}, "ranks.1", "ranks.1 = 512: "),
        ({"ranks": [8, 8]}, "ranks", "ranks = [8, 8]: each value may be named once"),
        ({"scalings": ["triple"]}, "scalings.0", "Input should be 'constant' or 'double'"),
        ({"target_modules": "lm_head"}, "target_modules", "allowed: all-linear, q_proj,v_proj, "),
        ({"colour": "red"}, "colour", 'colour = "red": unknown parameter; allowed: model, ranks, '),
        ({"model": "gpt-5"}, "model", 'model = "gpt-5": not on the list of models of this site; allowed: smollm2-135m'),
        ({"model": 1}, "model", "model = 1: Input should be a valid string"),
        ([], "params", "params = []: allowed: a JSON object of parameters"),
    ],
)
def test_an_error_names_field_value_and_what_is_allowed(raw, field, message):
    found = errors(raw)
    assert list(found) == [field]
    assert message in found[field][0]


def test_all_errors_are_told_at_once():
    assert set(errors({"steps": 0, "alpha": 0, "colour": 1})) == {"steps", "alpha", "colour"}


def test_a_long_value_is_cut_in_the_message():
    assert len(errors({"steps": "x" * 10_000})["steps"][0]) < 300


def test_defaults_fill_what_is_not_given():
    params = validate(SWEEP, {"ranks": [2]}).model_dump()
    assert params == SWEEP.parameters().model_dump() | {"ranks": [2]}


@override_settings(LAB_MODELS=["tiny"])
def test_the_operator_decides_which_models_are_allowed():
    assert parameter_schema(SWEEP)["properties"]["model"]["enum"] == ["tiny"]
    assert validate(SWEEP, {"model": "tiny"}).model_dump()["model"] == "tiny"
    with pytest.raises(ParameterErrors, match="allowed: tiny"):
        validate(SWEEP, {})


@pytest.mark.parametrize(
    "seeds",
    [[], [1, 1], [-1], [MAX_SEED + 1], list(range(11)), ["1"], [1.0], [True], [None], "12", None, {1: 2}],
)
def test_wrong_seeds_are_refused(seeds):
    with pytest.raises(ParameterErrors, match="allowed: 1 to 10 different whole numbers from 0 to 2147483647"):
        validate_seeds(seeds)


@given(st.lists(st.integers(0, MAX_SEED), min_size=1, max_size=10, unique=True))
def test_right_seeds_are_kept_as_they_are(seeds):
    assert validate_seeds(seeds) == seeds


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lab", all_labs().values(), ids=all_labs())
def test_every_preset_of_every_lab_is_a_valid_request_and_keeps_its_name(lab):
    for name, preset in lab.presets.items():
        request = run_request(lab_slug=lab.slug, preset=name)
        assert (request.preset, request.seeds) == (name, list(preset.seeds))
        json.dumps(request.params)


def test_without_a_preset_the_labs_defaults_and_the_quick_seeds_count():
    request = run_request(lab_slug="rank-sweep", params={"steps": 7})
    assert (request.params["steps"], request.params["ranks"], request.seeds) == (7, [1, 64], [0])


def test_parameters_go_over_the_preset():
    request = run_request(lab_slug="rank-sweep", preset="standard", params={"steps": 7})
    assert request.params["steps"] == 7
    assert request.params["ranks"] == [1, 2, 4, 8, 16, 32, 64]
    assert request.seeds == [0, 1, 2]


def test_a_changed_preset_loses_its_name():
    assert run_request(lab_slug="rank-sweep", preset="quick", params={"steps": 7}).preset == ""
    assert run_request(lab_slug="rank-sweep", preset="quick", seeds=[5]).preset == ""


def test_a_preset_typed_by_hand_gets_its_name():
    request = run_request(lab_slug="rank-sweep", params={"ranks": [1, 2, 4, 8, 16, 32, 64]}, seeds=[0, 1, 2])
    assert request.preset == "standard"


def test_an_unknown_lab_is_refused_with_those_that_exist():
    with pytest.raises(UnknownLab, match=f"Unknown lab 'no-such'; allowed: {', '.join(all_labs())}"):
        run_request(lab_slug="no-such")


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"preset": "huge"}, 'preset = "huge": allowed: quick, standard, gpu'),
        ({"params": ["steps"]}, "allowed: a JSON object of parameters"),
        ({"seeds": []}, "seeds = "),
    ],
)
def test_a_wrong_request_is_refused(wish, message):
    with pytest.raises(ParameterErrors, match=message):
        run_request(lab_slug="rank-sweep", **wish)


# --- the same question ------------------------------------------------------------------------------------------------


@given(st.integers())
def test_the_question_does_not_depend_on_the_order_of_keys_and_seeds(salt):
    params = run_request(lab_slug="rank-sweep").params
    names = list(params)
    random.Random(salt).shuffle(names)
    shuffled = {name: params[name] for name in names}
    assert question_key(SWEEP, shuffled, [2, 0, 1]) == question_key(SWEEP, params, [0, 1, 2])


def test_every_part_of_a_question_counts():
    base = run_request(lab_slug="rank-sweep")
    others = [
        run_request(lab_slug="merge-check"),
        run_request(lab_slug="rank-sweep", params={"steps": 999}),
        run_request(lab_slug="rank-sweep", params={"ranks": [64, 8, 1]}),
        run_request(lab_slug="rank-sweep", seeds=[1]),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5


def test_the_way_a_number_was_written_does_not_count():
    typed = run_request(lab_slug="rank-sweep", params={"steps": "30"})
    assert typed.key == run_request(lab_slug="rank-sweep", params={"steps": 30}).key
