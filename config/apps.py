from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Holds the commands that run the whole: prepare, up, setup_demo."""

    name = "config"
