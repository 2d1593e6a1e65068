"""The memory planner: addresses, answers that are there, and those that are asked for."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs import planner
from labs.catalog.memory_simulator import CATEGORIES
from labs.charts import Across, StackedBar, marks_beside, stacked_chart
from labs.memory.recipe import Recipe
from labs.models import MetricValue, Run
from tests.builders import add_values, make_run

LORA = Recipe()
QLORA = Recipe(model="llama-7b", method="qlora", sequence_length=1024)
PARTS = {"parameters": 12.0, "activations": 3.0, "logits_and_loss": 0.5}


def known(recipe: Recipe, owner, **values) -> Run:
    """A finished simulation of the recipe: 15.5 GiB, of which 12 are parameters."""
    request = planner.request_of(recipe)
    run = make_run(
        owner, lab=planner.SLUG, params=request.params, seeds=[0], question_key=request.key, preset="quick", **values
    )
    for name, value in (("allocated", 15.5), ("reserved", 15.9), ("peak", 15.4)):
        add_values(run, name, "", value)
    for category, value in PARTS.items():
        add_values(run, "at_peak", f"category={category}", value)
        add_values(run, "share", f"category={category}", 100 * value / sum(PARTS.values()))
        for step in range(3):
            MetricValue.objects.create(
                run=run, name="alive", point=f"category={category}", seed=0, step=step, value=value / (3 - step)
            )
    return run


# --- addresses --------------------------------------------------------------------------------------------------------


def test_an_address_holds_what_differs_from_the_defaults():
    assert planner.text_of(LORA) == "{}"
    assert planner.text_of(QLORA) == '{"model":"llama-7b","sequence_length":1024,"weights":"nf4"}'


@given(
    st.sampled_from(["llama-7b", "gpt2", "qwen2.5-7b"]),
    st.sampled_from(["lora", "full"]),
    st.integers(1, 64),
    st.integers(2, 1024),
)
def test_an_address_gives_its_recipe_back(model, method, batch, length):
    recipe = Recipe(model=model, method=method, batch_size=batch, sequence_length=length)
    assert planner.recipe_of(planner.text_of(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[]", "allowed: a JSON object"),
        ('{"model": "llama-9"}', "model"),
        ('{"batch_size": -1}', "batch_size = -1"),
        ('{"surprise": 1}', "surprise"),
        ("[" * 100_000, ""),
    ],
)
def test_a_bad_address_is_named(text, message):
    with pytest.raises(planner.BadRecipe, match=message):
        planner.recipe_of(text)


def test_a_title_tells_recipes_apart():
    assert planner.title_of(QLORA) == "llama-7b, lora r=16, nf4, 1 × 1024"
    assert planner.title_of(Recipe(method="full", checkpointing="reentrant")) == (
        "llama-2-7b, full, bfloat16, 1 × 512, checkpointing reentrant"
    )


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_anybodys_simulation_answers_everybody(as_charlie, bob):
    known(LORA, bob)
    html = as_charlie.get("/planner/").content.decode()
    assert "llama-2-7b, lora r=16, bfloat16, 1 × 512" in html
    assert "15.9" in html
    assert "24 GB" in html  # 16 GB would hold what is reserved, but not the CUDA context beside it
    assert html.count('<figure class="plot">') == 2
    assert "A: 15.5 (parameters 12, activations 3, " in html  # GiB, not shares of the peak
    assert "bob" not in html


@pytest.mark.django_db
def test_the_reference_run_of_every_block_answers_too(as_charlie):
    run = known(LORA, None)
    request = planner.request_of(LORA)
    params = request.params | {"exact": True}
    run.question_key = planner.question_key(request.lab, params, planner.EVIDENCE_SEEDS)
    run.save()
    assert "15.9" in as_charlie.get("/planner/").content.decode()


@pytest.mark.django_db
def test_what_is_not_simulated_can_be_asked_for_by_those_who_are_signed_in(as_alice, as_charlie, bells):
    address = planner.address_of([QLORA])
    assert "Sign in to simulate it" in as_charlie.get(address).content.decode()
    assert "Not simulated yet" in as_alice.get(address).content.decode()
    for _ in range(2):  # sent twice, asked once
        response = as_alice.post("/planner/simulate/", {"recipe": planner.text_of(QLORA)})
        assert response.url == address
    run = Run.objects.get()
    assert (run.lab_slug, run.params["weights"], bells) == (planner.SLUG, "nf4", [run.pk])
    assert 'hx-trigger="every 2s"' in as_alice.get(address).content.decode()
    assert as_charlie.post("/planner/simulate/", {"recipe": "{}"}).url.startswith("/login/")


@pytest.mark.django_db
def test_two_recipes_that_are_awaited_are_asked_after_once(as_alice, bells):
    recipes = [LORA, QLORA]
    as_alice.post("/planner/simulate/", {"recipe": [planner.text_of(recipe) for recipe in recipes]})
    html = as_alice.get(planner.address_of(recipes)).content.decode()
    assert (len(bells), html.count("hx-trigger=")) == (2, 1)


@pytest.mark.django_db
def test_what_is_known_is_not_asked_for_again(as_alice, bob, bells):
    known(LORA, bob)
    as_alice.post("/planner/simulate/", {"recipe": "{}"})
    assert Run.objects.count() == 1


@pytest.mark.django_db
def test_a_fragment_is_the_part_that_changes(as_charlie, bob):
    known(LORA, bob)
    html = as_charlie.get("/planner/", headers={"HX-Request": "true"}).content.decode()
    assert html.strip().startswith('<div id="planned"')
    assert "<form" not in html


@pytest.mark.django_db
def test_queries_do_not_grow_with_the_recipes(as_alice, bob, django_assert_max_num_queries):
    recipes = [Recipe(batch_size=size) for size in (1, 2, 4, 8)]
    for recipe in recipes:
        known(recipe, bob)
    with django_assert_max_num_queries(10):
        as_alice.get(planner.address_of(recipes))


@pytest.mark.django_db
def test_an_address_that_cannot_be_read_says_why_and_shows_the_rest(as_charlie, bob):
    known(LORA, bob)
    html = as_charlie.get("/planner/?recipe={}&recipe=%7B%22batch_size%22:0%7D").content.decode()
    assert "batch_size = 0" in html
    assert "15.9" in html


# --- the form ---------------------------------------------------------------------------------------------------------

FIELDS = {
    name: value
    for name, value in QLORA.model_dump(mode="json").items()
    if value is not False  # a box that is not ticked sends nothing
}


def recipes_in(address: str) -> list[str]:
    return parse_qs(urlsplit(address).query)["recipe"]


@pytest.mark.django_db
def test_the_form_leads_to_an_address_that_can_be_shared(as_charlie):
    response = as_charlie.get("/planner/", FIELDS | {"show": "1", "recipe": "{}"})
    assert recipes_in(response.url) == [planner.text_of(QLORA)]


@pytest.mark.django_db
def test_up_to_four_recipes_stand_side_by_side(as_charlie):
    others = [planner.text_of(Recipe(batch_size=size)) for size in (2, 4, 8, 16)]
    response = as_charlie.get("/planner/", FIELDS | {"add": "1", "recipe": others[:2]})
    assert recipes_in(response.url) == [*others[:2], planner.text_of(QLORA)]
    full = as_charlie.get("/planner/", FIELDS | {"add": "1", "recipe": others})
    assert recipes_in(full.url) == [*others[:3], planner.text_of(QLORA)]


@pytest.mark.django_db
def test_a_recipe_that_does_not_go_together_is_named_and_what_was_typed_is_kept(as_charlie):
    response = as_charlie.get("/planner/", FIELDS | {"show": "1", "method": "full", "rank": "77"})
    html = response.content.decode()
    assert response.status_code == 422
    assert "full does not work on nf4 weights" in html
    assert 'value="77"' in html


# --- what to try ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_what_to_try_follows_from_the_largest_parts(bob):
    known(LORA, bob)
    [answer] = planner.answers([LORA])
    tried = {words: recipes_in(address) for words, address in planner.remedies(answer, [LORA])}
    assert list(tried) == ["keep the base in NF4 (QLoRA)", "turn on gradient checkpointing"]
    assert tried["turn on gradient checkpointing"] == ["{}", '{"checkpointing":"non-reentrant"}']


# --- the picture ------------------------------------------------------------------------------------------------------


def test_every_category_has_its_colour():
    bar = StackedBar("all", dict.fromkeys(CATEGORIES, 1.0))
    html = stacked_chart([bar], parts={n: n for n in CATEGORIES}, title="t", x_title="GiB")
    assert all(f'class="s{index}' in html for index in range(len(CATEGORIES)))
    assert html.count('class="bar part"') == len(CATEGORIES)


def test_marks_are_those_near_the_bars_and_the_next_one():
    marks = [Across(size, str(size)) for size in planner.GPUS]
    shown = marks_beside([StackedBar("a", {"x": 20.0})], marks)
    assert [mark.value for mark in shown] == [8, 12, 16, 24]


@pytest.mark.parametrize("bars", [[], [StackedBar("a", {"x": -1.0})]])
def test_a_chart_without_sense_is_refused(bars):
    with pytest.raises(ValueError, match="Invalid stacked chart"):
        stacked_chart(bars, parts={"x": "x"}, title="t", x_title="GiB")
