"""Practising: question, reveal, rubric, grade, follow-ups."""

import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from quiz.models import Attempt, Card, Question, ReviewEvent
from quiz.review.services import study_settings
from quiz.services import MAX_TYPED, AlreadyGraded, attempt_grade
from tests.builders import make_claim, make_follow_up, make_point, make_question, make_topic

pytestmark = pytest.mark.django_db

TYPED = "It freezes W <b>and</b> learns BA."


@pytest.fixture
def question(db) -> Question:
    return make_question(slug="why-low-rank", prompt_en="Why a *low* rank?", answer_en="Few directions.")


@pytest.fixture
def follow_up(question) -> Question:
    return make_follow_up(question, slug="when-not", prompt_en="When not?", when_en="said *capacity*")


@pytest.fixture
def attempt(question, alice) -> Attempt:
    return Attempt.objects.create(owner=alice, question=question, typed=TYPED)


def reveal(client, question: Question, **form) -> object:
    form = {"token": str(uuid.uuid4()), "typed": TYPED, **form}
    return client.post(f"/questions/{question.slug}/reveal/", form)


def body(response, status: int = 200) -> str:
    assert response.status_code == status
    return response.content.decode()


# --- the question and its answer --------------------------------------------------------------------------------------


def test_questions_are_listed_under_their_topics(as_charlie, question, follow_up):
    html = body(as_charlie.get("/questions/"))
    assert "Why a <em>low</em> rank?" in html
    assert "1 follow-up" in html
    assert "When not?" not in html


def test_an_empty_list_says_so(as_charlie):
    assert "None yet." in body(as_charlie.get("/questions/"))


def test_a_question_hides_its_answer(as_charlie, as_alice, question):
    for client in (as_charlie, as_alice):
        html = body(client.get(question.get_absolute_url()))
        assert "Why a <em>low</em> rank?" in html
        assert "Few directions." not in html


def test_a_follow_up_has_a_page_of_its_own(as_charlie, question, follow_up):
    html = body(as_charlie.get(follow_up.get_absolute_url()))
    assert "When not?" in html
    assert question.get_absolute_url() in html


def test_the_answer_can_be_read_by_everybody(as_charlie, question, follow_up):
    question.points.add(make_point(title_en="Rank"))
    html = body(as_charlie.get("/questions/why-low-rank/answer/"))
    for text in ("Few directions.", "Rubric", "When not?", "said <em>capacity</em>", "Rank"):
        assert text in html


@pytest.mark.parametrize("address", ["/questions/nothing/", "/questions/nothing/answer/"])
def test_an_unknown_question_is_not_found(as_charlie, address):
    assert as_charlie.get(address).status_code == 404


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("post", "/questions/"),
        ("post", "/questions/why-low-rank/"),
        ("post", "/questions/why-low-rank/answer/"),
        ("get", "/questions/why-low-rank/reveal/"),
        ("post", "/attempts/1/"),
        ("get", "/attempts/1/grade/"),
    ],
)
def test_the_wrong_method_is_refused(as_alice, question, method, address):
    assert getattr(as_alice, method)(address).status_code == 405


# --- revealing --------------------------------------------------------------------------------------------------------


def test_revealing_keeps_what_was_typed_and_shows_the_answer_beside_it(as_alice, alice, question):
    response = reveal(as_alice, question)
    attempt = Attempt.objects.get()
    assert (attempt.owner, attempt.question, attempt.typed, attempt.grade) == (alice, question, TYPED, None)
    assert response.url == attempt.get_absolute_url()
    html = body(as_alice.get(response.url))
    assert "It freezes W &lt;b&gt;and&lt;/b&gt; learns BA." in html
    assert "Few directions." in html
    assert html.count('type="checkbox"') == 2


def test_an_answer_may_be_said_aloud(as_alice, question):
    html = body(as_alice.get(reveal(as_alice, question, typed="").url))
    assert "Said aloud, not typed." in html


def test_the_same_form_twice_is_one_attempt(as_alice, question):
    token = str(uuid.uuid4())
    first, second = (reveal(as_alice, question, token=token) for _ in range(2))
    assert first.url == second.url
    assert Attempt.objects.count() == 1


def test_a_new_form_is_a_new_attempt(as_alice, question):
    assert reveal(as_alice, question).url != reveal(as_alice, question).url


def test_somebody_elses_token_is_refused(as_alice, as_bob, question):
    token = str(uuid.uuid4())
    reveal(as_alice, question, token=token, typed="alice's secret")
    response = reveal(as_bob, question, token=token)
    assert "secret" not in body(response, 400)
    assert Attempt.objects.count() == 1


def test_the_token_of_another_question_is_refused(as_alice, question, follow_up):
    token = str(uuid.uuid4())
    reveal(as_alice, question, token=token)
    assert reveal(as_alice, follow_up, token=token).status_code == 400


def test_whoever_is_signed_out_keeps_the_typed_text(as_charlie, question):
    html = body(reveal(as_charlie, question), 401)
    assert "It freezes W &lt;b&gt;and&lt;/b&gt; learns BA." in html
    assert "You are signed out." in html
    assert not Attempt.objects.exists()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"token": "no-uuid"}, "Enter a valid UUID"),
        ({"token": ""}, "This field is required"),
        ({"after": "first"}, "Enter a whole number"),
        ({"typed": "x" * (MAX_TYPED + 1)}, f"at most {MAX_TYPED} characters"),
    ],
)
def test_a_wrong_form_is_explained_and_keeps_the_text(as_alice, question, form, message):
    html = body(reveal(as_alice, question, **form), 422)
    assert message in html
    assert "It freezes W" in html or "xxx" in html
    assert not Attempt.objects.exists()


def test_a_follow_up_remembers_the_attempt_before(as_alice, attempt, follow_up):
    assert f'name="after" value="{attempt.pk}"' in body(as_alice.get(f"/questions/when-not/?after={attempt.pk}"))
    reveal(as_alice, follow_up, after=attempt.pk)
    assert Attempt.objects.first().after == attempt


def test_somebody_elses_attempt_cannot_be_followed(as_bob, attempt, follow_up):
    assert reveal(as_bob, follow_up, after=attempt.pk).status_code == 404
    assert Attempt.objects.count() == 1


def test_the_form_is_guarded_against_other_sites(alice, question):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert "The form has expired" in body(reveal(client, question), 403)


# --- grading ----------------------------------------------------------------------------------------------------------


def grade(client, attempt: Attempt, made: list, grade) -> object:
    return client.post(f"/attempts/{attempt.pk}/grade/", {"made": made, "grade": grade})


def test_a_grade_is_kept_with_the_points_made(as_alice, attempt, follow_up):
    assert grade(as_alice, attempt, [0], 3).url == attempt.get_absolute_url()
    attempt.refresh_from_db()
    assert (attempt.grade, attempt.made_points, attempt.score) == (3, [0], 0.75)
    assert attempt.graded_at is not None
    html = body(as_alice.get(attempt.get_absolute_url()))
    assert "you made 75 % of the rubric" in html
    assert f'href="{follow_up.get_absolute_url()}?after={attempt.pk}"' in html


def test_follow_ups_appear_only_after_the_grade(as_alice, attempt, follow_up):
    html = body(as_alice.get(attempt.get_absolute_url()))
    assert "When not?" not in html
    assert "After the grade come the follow-ups." in html


def test_the_same_grade_twice_counts_once(as_alice, attempt):
    grade(as_alice, attempt, [1, 0], 3)
    attempt.refresh_from_db()
    before = attempt.graded_at
    assert grade(as_alice, attempt, [0, 1], 3).status_code == 302
    attempt.refresh_from_db()
    assert (attempt.made_points, attempt.graded_at) == ([0, 1], before)


@pytest.mark.parametrize(("made", "other"), [([0], 2), ([1], 3), ([], 3)])
def test_a_grade_is_not_changed_afterwards(as_alice, attempt, made, other):
    grade(as_alice, attempt, [0], 3)
    html = body(grade(as_alice, attempt, made, other), 409)
    assert "This attempt has a grade already." in html
    attempt.refresh_from_db()
    assert (attempt.grade, attempt.made_points, attempt.score) == (3, [0], 0.75)


@pytest.mark.parametrize(
    ("made", "value"), [([2], 3), (["x"], 3), ([-1], 3), ([0], 0), ([0], 5), ([0], "good"), ([0], "")]
)
def test_an_unknown_point_or_grade_is_refused_and_the_ticks_stay(as_alice, attempt, made, value):
    html = body(grade(as_alice, attempt, made, value), 422)
    assert 'class="errorlist"' in html
    if made == [0]:
        assert html.count("checked") == 1
    attempt.refresh_from_db()
    assert (attempt.grade, attempt.graded_at) == (None, None)


def test_the_service_refuses_what_the_form_would(attempt):
    with pytest.raises(ValueError, match=r"Invalid grade 5; allowed: 1 \(again\)"):
        attempt_grade(attempt=attempt, made=[], grade=5)
    with pytest.raises(ValueError, match=r"Invalid rubric points \[9\]"):
        attempt_grade(attempt=attempt, made=[9], grade=3)
    attempt_grade(attempt=attempt, made=[], grade=1)
    with pytest.raises(AlreadyGraded):
        attempt_grade(attempt=attempt, made=[], grade=2)


# --- privacy ----------------------------------------------------------------------------------------------------------


def test_attempts_are_private(as_bob, as_charlie, as_staff, attempt):
    address = attempt.get_absolute_url()
    for client in (as_bob, as_staff):
        assert TYPED not in body(client.get(address), 404)
        assert grade(client, attempt, [0], 3).status_code == 404
    assert as_charlie.get(address).url == f"/login/?next={address}"
    attempt.refresh_from_db()
    assert attempt.grade is None


# --- the whole story --------------------------------------------------------------------------------------------------


def test_a_learner_walks_down_the_tree(as_alice, question, follow_up):
    deeper = make_follow_up(follow_up, prompt_en="And deeper?")
    first = Attempt.objects.get(pk=reveal(as_alice, question).url.split("/")[2])
    grade(as_alice, first, [0, 1], 4)
    second = Attempt.objects.get(pk=reveal(as_alice, follow_up, after=first.pk).url.split("/")[2])
    grade(as_alice, second, [], 1)
    html = body(as_alice.get(second.get_absolute_url()))
    assert f'href="{deeper.get_absolute_url()}?after={second.pk}"' in html
    assert f'href="{first.get_absolute_url()}#follow-ups"' in html
    assert [(a.question, a.after, a.score) for a in Attempt.objects.order_by("pk")] == [
        (question, None, 1.0),
        (follow_up, first, 0.0),
    ]


# --- as many queries for much as for little ---------------------------------------------------------------------------


def chip() -> str:
    return f"[[claim:{make_claim().slug}]]"


def add_a_lot(question: Question) -> None:
    for _ in range(3):
        follow_up = make_follow_up(question, prompt_en=chip(), when_en=chip())
        make_follow_up(follow_up, prompt_en=chip())
        make_question(topic=make_topic(f"topic-{follow_up.pk}"), prompt_en=chip())
        make_question(prompt_en=chip())
        question.points.add(make_point())
        question.rubric.create(position=question.rubric.count(), weight=1, dimension="concept", text_en=chip())
        question.answer_en += chip()
    question.save()


ADDRESSES = ["/questions/", "/questions/why-low-rank/", "/questions/why-low-rank/answer/", "/attempts/{}/"]


@pytest.mark.parametrize("is_graded", [False, True])
@pytest.mark.parametrize("address", ADDRESSES)
def test_the_number_of_queries_is_constant(as_alice, attempt, django_assert_max_num_queries, address, is_graded):
    if is_graded:
        attempt_grade(attempt=attempt, made=[0], grade=3)
    add_a_lot(attempt.question)
    with django_assert_max_num_queries(30) as few:
        assert as_alice.get(address.format(attempt.pk)).status_code == 200
    add_a_lot(attempt.question)
    with django_assert_max_num_queries(len(few)):
        as_alice.get(address.format(attempt.pk))


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_the_grade_of_a_new_card_is_a_review(as_alice, alice, attempt):
    grade(as_alice, attempt, [0], 3)
    grade(as_alice, attempt, [0], 3)
    event = ReviewEvent.objects.get()
    assert (event.owner, event.rating, event.attempt, event.card.question) == (alice, 3, attempt, attempt.question)
    assert event.card.due is not None


def test_the_grade_of_a_card_that_is_not_due_leaves_the_schedule_alone(as_alice, alice, attempt):
    grade(as_alice, attempt, [0], 4)
    due = Card.objects.get().due
    grade(as_alice, Attempt.objects.create(owner=alice, question=attempt.question), [], 1)
    assert Card.objects.get().due == due
    assert ReviewEvent.objects.count() == 1


def test_a_card_that_is_due_is_reviewed_again(as_alice, alice, attempt):
    grade(as_alice, attempt, [0], 1)
    Card.objects.update(due=timezone.now() - timedelta(days=1))
    grade(as_alice, Attempt.objects.create(owner=alice, question=attempt.question), [0], 3)
    assert [event.rating for event in ReviewEvent.objects.order_by("pk")] == [1, 3]


def test_a_topic_that_is_left_out_makes_no_card(as_alice, alice, attempt):
    study_settings(alice).topics.set([make_topic("other")])
    assert grade(as_alice, attempt, [0], 3).status_code == 302
    assert not Card.objects.exists()


def test_a_grade_that_is_refused_reviews_nothing(as_alice, attempt):
    grade(as_alice, attempt, [9], 3)
    assert not ReviewEvent.objects.exists()
