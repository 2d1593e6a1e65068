"""What every lab's page needs: a short question, and an interview answer that shows claims which rest on the lab."""

import re

import pytest
import yaml
from django.conf import settings

from kb.markup import inline_references
from kb.text import LANGUAGES
from labs.catalog import all_labs
from labs.declaration import Lab
from labs.schema import ClaimSource

EVERY_LAB = pytest.mark.parametrize("lab", all_labs().values(), ids=lambda lab: lab.slug)
END_OF_SENTENCE = re.compile(r"[.?!](?=\s|$)")


@pytest.fixture(scope="module")
def claims() -> dict[str, ClaimSource]:
    files = (settings.CONTENT_DIR / "claims").glob("*/*.yaml")
    sources = (ClaimSource.model_validate(yaml.safe_load(file.read_text())) for file in files)
    return {source.slug: source for source in sources}


def rests_on(claim: ClaimSource, lab: Lab) -> bool:
    return any(check.lab == lab.slug for check in claim.checks)


@EVERY_LAB
def test_the_question_is_one_or_two_sentences(lab: Lab):
    assert 1 <= len(END_OF_SENTENCE.findall(lab.question.en)) <= 2


@EVERY_LAB
def test_the_interview_answer_shows_claims_that_rest_on_the_lab(lab: Lab, claims):
    for language in LANGUAGES:
        shown = {slug for kind, slug in inline_references(lab.takeaway.in_language(language)) if kind == "claim"}
        assert shown <= claims.keys()
        assert any(rests_on(claims[slug], lab) for slug in shown), language


@EVERY_LAB
def test_both_languages_show_the_same_claims(lab: Lab):
    assert set(inline_references(lab.takeaway.en)) == set(inline_references(lab.takeaway.zh))
