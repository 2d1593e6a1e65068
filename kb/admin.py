from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from kb.editing.admin import ItemAdmin
from kb.editing.fields import WordsField
from kb.editing.forms import ItemForm
from kb.editing.table_admin import TableAdmin
from kb.models import ErrorReport, Point, Reference, Topic
from kb.sources import point_source, reference_source, topic_source


class TopicForm(ItemForm):
    def make_source(self) -> Any:
        return topic_source(self.instance)


@admin.register(Topic)
class TopicAdmin(ItemAdmin):
    form = TopicForm
    list_display = ["slug", "title_en", "title_zh", "position"]
    search_fields = ["slug", "title_en", "title_zh"]
    readonly_fields = ["position"]  # the order of content/topics.yaml


class ReferenceForm(ItemForm):
    def make_source(self) -> Any:
        return reference_source(self.instance)


@admin.register(Reference)
class ReferenceAdmin(ItemAdmin):
    form = ReferenceForm
    identity = ("key",)
    list_display = ["key", "title", "authors", "year"]
    search_fields = ["key", "title", "authors"]


class PointForm(ItemForm):
    covers = WordsField(help_text="content/inventory.yaml")

    def make_source(self) -> Any:
        return point_source(self.instance, self.cleaned_data["prerequisites"])


@admin.register(Point)
class PointAdmin(TableAdmin):
    form = PointForm
    list_display = ["slug", "topic", "title_en", "title_zh", "status"]
    list_filter = ["status", "topic"]
    list_select_related = ["topic"]
    search_fields = ["slug", "title_en", "title_zh"]
    filter_horizontal = ["prerequisites"]


@admin.register(ErrorReport)
class ErrorReportAdmin(admin.ModelAdmin):
    """The queue of reported errors: read, look at the item, set the status."""

    list_display = ["item", "text", "language", "reporter", "status", "created_at"]
    list_filter = ["status", "kind"]
    list_select_related = ["reporter"]
    search_fields = ["slug", "text"]
    fields = ["item", "language", "text", "reporter", "created_at", "status"]
    readonly_fields = ["item", "language", "text", "reporter", "created_at"]
    actions = ["mark_fixed", "mark_dismissed"]

    def has_add_permission(self, request: object) -> bool:
        return False

    @admin.display(description=_("item"))
    def item(self, report: ErrorReport) -> SafeString:
        return format_html('<a href="{}">{}/{}</a>', report.url, report.kind, report.slug)

    @admin.action(description=_("Fixed"), permissions=["change"])
    def mark_fixed(self, request: HttpRequest, rows: QuerySet) -> None:
        rows.update(status=ErrorReport.FIXED)

    @admin.action(description=_("Dismissed"), permissions=["change"])
    def mark_dismissed(self, request: HttpRequest, rows: QuerySet) -> None:
        rows.update(status=ErrorReport.DISMISSED)
