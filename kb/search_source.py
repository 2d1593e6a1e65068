"""What kb offers to the search: its points."""

from collections.abc import Collection, Iterator

from kb.models import Point
from kb.queries import published_points
from kb.search import Document
from kb.text import LANGUAGES, pick


def point_documents(slugs: Collection[str] | None = None) -> Iterator[Document]:
    points = published_points().select_related("topic")
    for point in points if slugs is None else points.filter(slug__in=slugs):
        for language in LANGUAGES:
            yield Document(
                kind="point",
                slug=point.slug,
                language=language,
                url=point.get_absolute_url(),
                title=pick(point, "title", language),
                body="\n".join(pick(point, part, language) for part in Point.PARTS),
                topic=point.topic.slug,
            )
