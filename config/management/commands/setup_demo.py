from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config import accounts


class Command(BaseCommand):
    help = "Create the demo learner and an administrator, on the embedded database only."

    def handle(self, **options: Any) -> None:
        if not accounts.are_made():
            raise CommandError("no demo logins where DATABASE_URL is set; use `manage.py createsuperuser`")
        created = accounts.demo_accounts_create()
        self.stdout.write(f"logins: created {', '.join(created)}" if created else "logins: nothing to do")
