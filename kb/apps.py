from django.apps import AppConfig


class KbConfig(AppConfig):
    name = "kb"
    verbose_name = "Knowledge base"

    def ready(self) -> None:
        from kb import links, search, search_source
        from kb.content import registry
        from kb.markup import register_inline
        from kb.sources import CONTENT_TYPES

        for content_type in CONTENT_TYPES:
            registry.register(content_type)
        search.sources["point"] = search_source.point_documents
        register_inline("point", links.point_links)
        register_inline("reference", links.reference_links)
