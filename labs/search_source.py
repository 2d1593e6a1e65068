"""What labs offers to the search: claims and labs."""

from collections.abc import Collection, Iterator

from django.urls import reverse

from kb.search import Document
from kb.text import LANGUAGES, pick
from labs.catalog import all_labs
from labs.models import Claim


def claim_documents(slugs: Collection[str] | None = None) -> Iterator[Document]:
    claims = Claim.objects.select_related("topic")
    for claim in claims if slugs is None else claims.filter(slug__in=slugs):
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


def lab_documents(slugs: Collection[str] | None = None) -> Iterator[Document]:
    for lab in (lab for lab in all_labs().values() if slugs is None or lab.slug in slugs):
        for language in LANGUAGES:
            yield Document(
                kind="lab",
                slug=lab.slug,
                language=language,
                url=reverse("labs-lab", args=[lab.slug]),
                title=lab.title.in_language(language),
                body="\n".join(text.in_language(language) for text in (lab.question, lab.summary, lab.takeaway)),
            )
