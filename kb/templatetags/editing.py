"""Template tags of the admin."""

from django import template

from kb.editing import dashboard

register = template.Library()


@register.simple_tag
def editor_panels() -> list[dashboard.Panel]:
    """What waits for the editors."""
    return [make() for make in dashboard.panels]
