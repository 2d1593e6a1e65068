from typing import Any

from django.contrib import admin

from kb.editing.admin import ItemAdmin, StatusAdmin
from kb.editing.fields import WordsField
from kb.editing.forms import ItemForm
from kb.models import Point, Reference, Topic
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
class PointAdmin(StatusAdmin):
    form = PointForm
    list_display = ["slug", "topic", "title_en", "title_zh", "status"]
    list_filter = ["status", "topic"]
    list_select_related = ["topic"]
    search_fields = ["slug", "title_en", "title_zh"]
    filter_horizontal = ["prerequisites"]
