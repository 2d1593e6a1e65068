"""The two logins of an embedded start: a learner to try with, and an administrator."""

from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User

from config.embedded import kept_secret

# Known to everyone: this learner has no rights, and exists on the embedded database only.
DEMO_NAME, DEMO_PASSWORD = "demo", "demo-proofdeck"
ADMIN_NAME = "admin"


def are_made() -> bool:
    """Logins with known or kept passwords are for the embedded database only."""
    return not settings.DATABASE_URL


def admin_password_file() -> Path:
    return Path(settings.DATA_DIR) / "admin_password"


def demo_accounts_create() -> list[str]:
    """Create what is missing, change nothing that is there. Names of the accounts that were created."""
    created = []
    if not User.objects.filter(username=DEMO_NAME).exists():
        User.objects.create_user(DEMO_NAME, password=DEMO_PASSWORD)
        created.append(DEMO_NAME)
    if not User.objects.filter(username=ADMIN_NAME).exists():
        User.objects.create_superuser(ADMIN_NAME, password=kept_secret(admin_password_file(), size=12))
        created.append(ADMIN_NAME)
    return created
