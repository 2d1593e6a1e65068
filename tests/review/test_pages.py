"""The review's pages with plain forms, as a browser without JavaScript sends them."""

import re
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from kb.models import Status
from quiz.models import Attempt, Card, OwnCard, Question, ReviewEvent, Sitting
from quiz.review import services
from quiz.review.states import CardState
from tests.builders import make_follow_up, make_point, make_question, make_topic
from tests.conftest import client_of
from tests.review.conftest import NOON, days

HTMX = {"HX-Request": "true"}
PARAMETRIC = {
    "draw": {"rank": [4, 8, 16]},
    "result": {"formula": "lora_layer_parameters", "arguments": {"d_in": 16, "d_out": 16, "rank": "<<rank>>"}},
}


def text_of(response) -> str:
    return response.content.decode()


def hidden(response, name: str, form: str = "grade") -> str:
    """A hidden field of the form that posts to …/<form>/."""
    start = text_of(response).index(f"/{form}/")
    return re.search(rf'name="{name}"\s+value="([^"]*)"', text_of(response)[start:])[1]


def grade_form(response, rating: int = 3) -> dict:
    return {name: hidden(response, name) for name in ("token", "seen", "milliseconds")} | {"rating": rating}


def study(client, query: str = ""):
    return client.get(reverse("review-study") + query)


def grade(client, card: Card, form: dict, **kwargs):
    return client.post(reverse("review-grade", args=[card.pk]), form, **kwargs)


def act(client, card: Card, name: str, token=None, **form):
    address = reverse("review-action", args=[card.pk, name])
    return client.post(address, {"token": token or uuid.uuid4(), **form})


def test_a_day_with_plain_forms(as_alice, alice, clock):
    for _ in range(3):
        make_question()
    overview = as_alice.get(reverse("review-home"))
    assert overview.context["counts"].new == 3
    for n in range(3):
        page = study(as_alice)
        assert page.context["counts"].new == 3 - n
        assert f"Answer {page.context['question'].answer_en[7:-1]}." in text_of(page)
        response = grade(as_alice, page.context["card"], grade_form(page, rating=4))
        assert (response.status_code, response["Location"]) == (302, reverse("review-study"))
    assert "Done for today" in text_of(study(as_alice))
    assert ReviewEvent.objects.filter(owner=alice).count() == 3


def test_the_interval_on_the_button_is_the_one_that_follows(as_alice, card):
    page = study(as_alice)
    shown = {button.rating: button.due for button in page.context["buttons"]}
    grade(as_alice, card, grade_form(page, rating=4))
    card.refresh_from_db()
    assert card.due == shown[4]
    assert "1 min" in text_of(page)


def test_htmx_gets_the_next_card_itself(as_alice, alice, card):
    other = make_question()
    services.cards_sync(alice)
    response = grade(as_alice, card, grade_form(study(as_alice)), headers=HTMX)
    assert response.status_code == 200
    assert response.context["card"].question == other
    assert "<html" not in text_of(response)
    assert 'id="due-count"' in text_of(response)


def test_the_same_form_twice_counts_once(as_alice, card):
    form = grade_form(study(as_alice))
    for _ in range(2):
        assert grade(as_alice, card, form).status_code == 302
    card.refresh_from_db()
    assert card.reviews == 1


def test_a_second_tab_is_told(as_alice, card):
    first, second = grade_form(study(as_alice)), grade_form(study(as_alice))
    grade(as_alice, card, first)
    response = grade(as_alice, card, second)
    assert response.status_code == 409
    assert "This grade was not counted" in text_of(response)
    assert ReviewEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"rating": "5"}, "rating"), ({"rating": ""}, "rating"), ({"token": "x"}, "token"), ({"seen": ""}, "seen")],
)
def test_a_form_that_cannot_be_read_changes_nothing(as_alice, card, wrong, message):
    response = grade(as_alice, card, grade_form(study(as_alice)) | wrong)
    assert response.status_code == 422
    assert f"{message}: " in response.context["error"]
    assert response.context["card"] == card
    assert not ReviewEvent.objects.exists()


def test_own_cards_are_reviewed_too(as_alice, alice):
    own = OwnCard.objects.create(owner=alice, guid="1", deck="Deck", front="<b>Front</b>", back="Back")
    services.study_settings(alice)
    card = services.own_card_add(own)
    page = study(as_alice)
    assert "<b>Front</b>" in text_of(page)
    grade(as_alice, card, grade_form(page))
    assert services.own_card_add(own).reviews == 1


def parametric() -> Question:
    return make_question(kind="parametric", prompt_en="Rank <<rank>>?", spec=PARAMETRIC)


def answer(client, page, number: float, **extra):
    form = {"token": hidden(page, "token", "answer"), "number": number, **extra}
    return client.post(reverse("review-answer", args=[page.context["card"].pk]), form, follow=True)


def test_a_parametric_card_is_graded_with_the_numbers_it_was_asked_with(as_alice, alice):
    question = parametric()
    services.cards_sync(alice)
    page = study(as_alice)
    rank = page.context["asked"].drawn.values["rank"]
    assert f"Rank {rank}?" in text_of(page)
    back = answer(as_alice, page, 32 * rank)
    assert f"Rank {rank}?" in text_of(back)
    assert back.context["assessment"].score == 1
    assert [b.rating for b in back.context["buttons"] if b.is_suggested] == [3]
    card = Card.objects.get(question=question)
    grade(as_alice, card, grade_form(back, rating=3))
    event = card.events.get()
    assert event.attempt == Attempt.objects.get()
    assert (event.attempt.drawn, event.attempt.grade) == ({"rank": rank}, 3)


def test_a_parametric_card_draws_fresh_numbers(as_alice, alice):
    parametric()
    services.cards_sync(alice)
    assert len({study(as_alice).context["asked"].drawn.values["rank"] for _ in range(30)}) > 1


def test_a_front_reads_nothing_of_its_back(as_alice, alice):
    question, point = parametric(), make_point()
    Question.objects.filter(pk=question.pk).update(answer_en=f"As in [[point:{point.slug}]].")
    question.points.add(point)
    services.cards_sync(alice)
    with CaptureQueriesContext(connection) as captured:
        page = study(as_alice)
    assert not [query for query in captured if "kb_point" in query["sql"]]
    assert text_of(answer(as_alice, page, 1)).count(f'href="{point.get_absolute_url()}"') == 2


def test_a_wrong_number_suggests_again_and_one_that_is_none_is_kept(as_alice, alice):
    parametric()
    services.cards_sync(alice)
    page = study(as_alice)
    kept = as_alice.post(
        reverse("review-answer", args=[page.context["card"].pk]),
        {"token": hidden(page, "token", "answer"), "number": "many"},
    )
    assert kept.status_code == 422
    assert 'value="many"' in text_of(kept)
    back = answer(as_alice, study(as_alice), 1)
    assert [b.rating for b in back.context["buttons"] if b.is_suggested] == [1]


def test_an_answered_card_graded_elsewhere_gives_way_to_the_next(as_alice, alice):
    parametric()
    services.cards_sync(alice)
    back = answer(as_alice, study(as_alice), 1)
    form = grade_form(back)
    grade(as_alice, back.context["card"], form)
    again = study(as_alice, f"?attempt={Attempt.objects.get().pk}")
    assert again.context["attempt"] is None


def test_undo_shows_the_card_again(as_alice, card):
    grade(as_alice, card, grade_form(study(as_alice), rating=4))
    response = as_alice.post(reverse("review-undo"), {"token": uuid.uuid4()}, follow=True)
    assert response.context["card"] == card
    assert response.context["card"].reviews == 0


def test_undo_with_nothing_left_says_so(as_alice, card):
    response = as_alice.post(reverse("review-undo"), {"token": uuid.uuid4()})
    assert response.status_code == 409
    assert "nothing left to undo" in text_of(response)


@pytest.mark.parametrize("name", ["bury", "suspend"])
def test_a_card_put_aside_is_not_asked(as_alice, card, name):
    act(as_alice, card, name)
    assert "Done for today" in text_of(study(as_alice))


def test_actions_from_the_cards_page_lead_back_to_it(as_alice, card):
    response = act(as_alice, card, "suspend", next="card")
    assert response["Location"] == reverse("review-card", args=[card.pk])
    assert "Take back in" in text_of(as_alice.get(response["Location"]))


def test_an_unknown_action_is_not_found(as_alice, card):
    assert act(as_alice, card, "delete").status_code == 404


def test_a_leech_is_suspended_with_advice(as_alice, alice, card, clock):
    services.settings_change(alice, leech_lapses=2)
    for _ in range(2):
        card.refresh_from_db()
        while card.state != Card.REVIEW:
            card = services.card_grade(card=card, rating=4, token=uuid.uuid4())
        clock.move_to(card.due)
        page = study(as_alice)
        response = grade(as_alice, card, grade_form(page, rating=1), follow=True)
        card.refresh_from_db()
    assert card.is_suspended
    assert "this card is a leech" in text_of(response)
    assert "A leech" in text_of(as_alice.get(reverse("review-card", args=[card.pk])))


def test_the_limits_of_the_day_hold(as_alice, alice, clock):
    for _ in range(4):
        make_question()
    services.cards_sync(alice)
    services.settings_change(alice, new_per_day=2)
    for _ in range(2):
        page = study(as_alice)
        grade(as_alice, page.context["card"], grade_form(page, rating=4))
    assert study(as_alice).context["counts"].total == 0
    clock.shift(days(1))
    assert study(as_alice).context["counts"].new == 2


def test_learning_cards_come_early_when_nothing_else_is_left(as_alice, alice, clock):
    first, second = make_question(), make_question()
    services.cards_sync(alice)
    page = study(as_alice)
    grade(as_alice, page.context["card"], grade_form(page, rating=3))  # due in ten minutes
    page = study(as_alice)
    assert page.context["question"] == second
    grade(as_alice, page.context["card"], grade_form(page, rating=4))
    assert study(as_alice).context["question"] == first
    services.settings_change(alice, learning_steps=[1, 30])
    services.card_reset(Card.objects.get(question=first))
    grade(as_alice, Card.objects.get(question=first), grade_form(study(as_alice), rating=3))
    assert "Done for today" in text_of(study(as_alice))  # half an hour is too early


def test_new_cards_are_spread_among_reviews(as_alice, alice, clock):
    for _ in range(6):
        make_question()
    services.cards_sync(alice)
    for card in Card.objects.order_by("position")[:4]:
        services.card_grade(card=card, rating=4, token=uuid.uuid4())
    services.settings_change(alice, new_per_day=2)
    clock.shift(days(60))
    asked = []
    while card := study(as_alice).context.get("card"):
        asked.append(card.state)
        services.card_grade(card=card, rating=4, token=uuid.uuid4())
    assert asked == [Card.REVIEW, Card.REVIEW, Card.NEW, Card.REVIEW, Card.REVIEW, Card.NEW]


def test_what_was_put_on_todays_list_comes_beyond_the_limit(as_alice, alice, card, clock):
    services.settings_change(alice, new_per_day=0)
    assert study(as_alice).context["counts"].total == 0
    services.card_set_due(card, NOON)
    assert study(as_alice).context["card"] == card


def test_retired_questions_and_other_topics_are_not_asked(as_alice, alice, card, clock):
    services.settings_change(alice, topics=[make_topic("serving")])
    assert study(as_alice).context["counts"].total == 0
    services.settings_change(alice, topics=[card.question.topic])
    assert study(as_alice).context["counts"].total == 1
    Question.objects.update(status=Status.RETIRED)
    assert study(as_alice).context["counts"].total == 0


@pytest.mark.parametrize("mode", ["ahead", "cram"])
def test_going_beside_the_schedule_leaves_no_trace(as_alice, alice, clock, mode):
    for _ in range(3):
        make_question()
    services.cards_sync(alice)
    for card in Card.objects.all():
        services.card_grade(card=card, rating=4, token=uuid.uuid4())
    states = [CardState.of(card) for card in Card.objects.order_by("pk")]
    seen = set()
    address = reverse("review-extra") + f"?mode={mode}&seed=5"
    for _ in range(3):
        page = as_alice.get(address)
        seen.add(page.context["card"].pk)
        address = page.context["following"]
    assert len(seen) == 3
    assert "No card left" in text_of(as_alice.get(address))
    assert [CardState.of(card) for card in Card.objects.order_by("pk")] == states
    assert ReviewEvent.objects.count() == 3


def test_cramming_a_graded_kind_keeps_an_attempt_and_stays_beside_the_schedule(as_alice, alice):
    parametric()
    services.cards_sync(alice)
    page = as_alice.get(reverse("review-extra") + "?mode=cram")
    back = answer(as_alice, page, 1, next=page.context["here"])
    assert back.context["assessment"].score == 0
    assert back.context["following"].endswith("n=1")
    assert (Attempt.objects.count(), ReviewEvent.objects.count()) == (1, 0)


def test_a_way_back_that_leads_elsewhere_is_not_taken(as_alice, alice):
    parametric()
    services.cards_sync(alice)
    page = study(as_alice)
    back = answer(as_alice, page, 1, next="https://example.com/review/extra/?mode=cram")
    assert back.redirect_chain[0][0].startswith(reverse("review-study"))


@pytest.mark.parametrize("query", ["", "?mode=all", "?mode=cram&n=-1", "?mode=cram&topic=none"])
def test_an_unknown_way_beside_the_schedule_is_refused(as_alice, query):
    assert as_alice.get(reverse("review-extra") + query).status_code == 400


def test_the_card_page_tells_what_is_known(as_alice, card, clock):
    services.card_grade(card=card, rating=4, token=uuid.uuid4(), milliseconds=1500)
    clock.shift(days(10))
    page = text_of(as_alice.get(reverse("review-card", args=[card.pk])))
    assert "8.3 days" in page
    assert re.search(r"Retrievability</dt>\s*<dd>\s*8\d %", page)
    assert "“Easy”" in page
    assert "1.5" in page


def test_what_was_taken_back_is_marked(as_alice, alice, card):
    services.card_grade(card=card, rating=1, token=uuid.uuid4())
    services.undo(alice, uuid.uuid4())
    assert "(taken back)" in text_of(as_alice.get(reverse("review-card", args=[card.pk])))


def test_a_due_date_is_set_and_the_past_refused(as_alice, card, clock):
    address = reverse("review-due", args=[card.pk])
    response = as_alice.post(address, {"token": uuid.uuid4(), "day": "2026-03-01"})
    assert response.status_code == 422
    assert "2026-03-01 is in the past; the first day possible is today, 2026-03-02." in text_of(response)
    as_alice.post(address, {"token": uuid.uuid4(), "day": "2026-03-09"})
    card.refresh_from_db()
    assert card.due == NOON.replace(hour=4) + days(7)


def test_the_browser_filters(as_alice, alice, clock):
    math, serving = make_topic("math"), make_topic("serving")
    first, second = make_question(topic=math, prompt_en="Why rank?"), make_question(topic=serving)
    services.cards_sync(alice)
    card = Card.objects.get(question=first)
    services.card_suspend(card)
    services.settings_change(alice, leech_lapses=2)
    Card.objects.filter(question=second).update(lapses=2, due=NOON, state=Card.REVIEW)

    def found(query: str) -> set[int]:
        page = as_alice.get(reverse("review-cards") + query)
        return {card.question_id for card in page.context["page"]}

    assert found("") == {first.pk, second.pk}
    assert (
        found("?state=suspended") == found("?topic=math") == found("?q=Why rank") == found("?state=new") == {first.pk}
    )
    assert found("?state=leech") == found("?state=due") == found("?state=review") == {second.pk}
    assert found("?state=buried") == found("?state=learning") == set()
    assert found("?state=nonsense") == {first.pk, second.pk}


SETTINGS = {
    "desired_retention": "0.85",
    "new_per_day": "5",
    "reviews_per_day": "100",
    "learning_steps": "2m 1h",
    "relearning_steps": "",
    "maximum_interval": "365",
    "leech_lapses": "6",
    "day_starts_at": "3",
    "time_zone": "Asia/Shanghai",
}


def save(client, **values):
    return client.post(reverse("review-settings"), SETTINGS | values)


def test_settings_are_saved(as_alice, alice):
    topic = make_topic()
    assert save(as_alice, topics=[topic.pk]).status_code == 302
    settings = services.study_settings(alice)
    assert (settings.new_per_day, settings.time_zone, list(settings.topics.all())) == (5, "Asia/Shanghai", [topic])
    scheduling = settings.scheduling
    assert (scheduling.desired_retention, scheduling.learning_steps, scheduling.relearning_steps) == (0.85, [2, 60], [])
    assert not scheduling.fuzz
    assert 'value="2m 1h"' in text_of(as_alice.get(reverse("review-settings")))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("desired_retention", "0.99", "0.97"),
        ("desired_retention", "0.5", "0.7"),
        ("learning_steps", "10x", "“10x” is not a step"),
        ("learning_steps", "8d", "“8d” is not a step"),
        ("learning_steps", "1m " * 11, "11 steps; at most 10"),
        ("time_zone", "Mars/Base", "“Mars/Base” is not a time zone"),
        ("day_starts_at", "24", "23"),
        ("leech_lapses", "1", "2"),
        ("maximum_interval", "0", "1"),
    ],
)
def test_settings_that_are_not_allowed_are_shown_with_what_was_typed(as_alice, alice, field, value, message):
    response = save(as_alice, **{field: value})
    assert response.status_code == 422
    assert message in response.context["form"].errors[field][0]
    assert f'value="{value}"' in text_of(response)
    assert services.study_settings(alice).new_per_day == 10


def test_rescheduling_from_the_settings(as_alice, alice, card, clock):
    services.card_grade(card=card, rating=4, token=uuid.uuid4())
    response = as_alice.post(reverse("review-settings"), SETTINGS | {"reschedule": "on"}, follow=True)
    assert "Rescheduled: 1 cards" in text_of(response)
    card.refresh_from_db()
    assert card.due - card.last_review > timedelta(days=9)


PAGES = ["review-home", "review-study", "review-cards", "review-settings"]


@pytest.mark.parametrize("name", PAGES)
def test_signing_in_is_required(as_charlie, name):
    assert as_charlie.get(reverse(name))["Location"].startswith(reverse("login"))


def test_others_cards_do_not_exist(as_bob, card):
    services.study_settings(card.owner)
    assert as_bob.get(reverse("review-card", args=[card.pk])).status_code == 404
    assert as_bob.get(reverse("review-study") + f"?card={card.pk}").status_code == 404
    assert act(as_bob, card, "suspend").status_code == 404
    assert grade(as_bob, card, {"token": uuid.uuid4(), "rating": 3, "seen": "x"}).status_code == 404
    form = {"token": uuid.uuid4(), "day": "2030-01-01"}
    assert as_bob.post(reverse("review-due", args=[card.pk]), form).status_code == 404
    assert not ReviewEvent.objects.exists()


def test_a_grade_needs_a_csrf_token(alice, card):
    client = client_of(alice)
    client.handler.enforce_csrf_checks = True
    assert grade(client, card, {"token": uuid.uuid4(), "rating": 3, "seen": "x"}).status_code == 403


@pytest.mark.parametrize("name", ["review-grade", "review-answer", "review-due"])
def test_a_get_changes_nothing(as_alice, card, name):
    assert as_alice.get(reverse(name, args=[card.pk])).status_code == 405


@pytest.mark.parametrize("address", ["/", "/review/", "/review/study/", "/review/cards/", "/review/extra/?mode=cram"])
def test_the_number_of_queries_is_constant(as_alice, alice, clock, django_assert_max_num_queries, address):
    make_question()
    services.cards_sync(alice)
    as_alice.get("/review/")
    with django_assert_max_num_queries(30) as few:
        as_alice.get(address)
    for _ in range(5):
        make_follow_up(make_question())
    services.cards_sync(alice)
    for card in Card.objects.all()[:3]:
        services.card_grade(card=card, rating=1, token=uuid.uuid4())
    with django_assert_max_num_queries(len(few)):
        as_alice.get(address)


def test_the_start_page_tells_what_waits(as_alice, as_charlie, alice, card):
    page = text_of(as_alice.get("/"))
    assert "Learning 0 · Due 0 · New 1" in page
    assert re.search(r'id="due-count" class="count">1<', page)
    sitting = Sitting.objects.create(owner=alice, kind="quiz")
    assert sitting.get_absolute_url() in text_of(as_alice.get("/"))
    assert "Today" not in text_of(as_charlie.get("/"))


def test_the_start_page_invites_who_never_reviewed(as_alice):
    assert "Begin the review" in text_of(as_alice.get("/"))
