from django.contrib import admin

from kb.models import Point, Reference, Topic


@admin.register(Topic)
class TopicAdmin(admin.ModelAdmin):
    list_display = ["slug", "title_en", "title_zh", "position"]
    search_fields = ["slug", "title_en", "title_zh"]


@admin.register(Reference)
class ReferenceAdmin(admin.ModelAdmin):
    list_display = ["key", "title", "authors", "year"]
    search_fields = ["key", "title", "authors"]


@admin.register(Point)
class PointAdmin(admin.ModelAdmin):
    list_display = ["slug", "topic", "title_en", "title_zh"]
    list_filter = ["topic"]
    list_select_related = ["topic"]
    search_fields = ["slug", "title_en", "title_zh"]
    filter_horizontal = ["prerequisites"]
