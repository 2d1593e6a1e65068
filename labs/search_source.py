"""What labs offers to the search: claims and labs."""

from collections.abc import Iterator

from django.urls import reverse

from kb.search import Document
from kb.text import LANGUAGES, pick
from labs.catalog import all_labs
from labs.models import Claim


def claim_documents() -> Iterator[Document]:
    for claim in Claim.objects.select_related("topic"):
        for language in LANGUAGES:
            yield Document(
                kind="claim",
                slug=claim.slug,
                language=language,
                url=claim.get_absolute_url(),
                title=pick(claim, "statement", language),
                body="\n".join(pick(claim, field, language) for field in ("often_said", "note", "assumptions")),
                topic=claim.topic.slug,
                facet=claim.verdict,
            )


def lab_documents() -> Iterator[Document]:
    for lab in all_labs().values():
        for language in LANGUAGES:
            yield Document(
                kind="lab",
                slug=lab.slug,
                language=language,
                url=reverse("labs-lab", args=[lab.slug]),
                title=lab.title.in_language(language),
                body="\n".join(text.in_language(language) for text in (lab.question, lab.summary, lab.takeaway)),
            )
