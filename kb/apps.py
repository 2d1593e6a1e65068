from django.apps import AppConfig
from django.db.models import Model


class KbConfig(AppConfig):
    name = "kb"
    verbose_name = "Knowledge base"

    def ready(self) -> None:
        from kb import links, markup, renderings, search, search_source
        from kb.content import registry
        from kb.editing import dashboard
        from kb.models import Point
        from kb.sources import CONTENT_TYPES

        for content_type in CONTENT_TYPES:
            registry.register(content_type)
        registry.after_edit += [_follow_edit, renderings.renderings_follow]
        registry.code_versions.append(lambda: f"markup {markup.RENDERER_VERSION}")
        renderings.texts[Point] = lambda points: renderings.texts_of(points, *Point.PARTS)
        dashboard.panels += [dashboard.open_reports, dashboard.waiting_points, dashboard.untranslated_points]
        search.sources["point"] = search_source.point_documents
        markup.register_inline("point", links.point_links)
        markup.register_inline("reference", links.reference_links)


def _follow_edit(row: Model) -> None:
    """An edited point can be found at once."""
    from kb.models import Point
    from kb.search import refresh_index

    if isinstance(row, Point):
        refresh_index("point", [row.slug])
