import sys
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation

from kb.models import Topic
from quiz.anki.exports import Deck, NothingChosen
from quiz.anki.notes import DJANGO_LANGUAGE
from quiz.anki.selection import BANK, MISTAKES, OWN, STUDIED, Selection
from quiz.models import Question


class Command(BaseCommand):
    help = "Write questions, or a learner's own cards, as an Anki package or a table."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="ends in .apkg or .csv")
        parser.add_argument("--scope", choices=[BANK, STUDIED, MISTAKES, OWN], default=BANK)
        parser.add_argument("--user", help="whose cards, mistakes or schedule")
        parser.add_argument("--topic", nargs="*", default=[], help="slugs; none means all")
        parser.add_argument("--kind", nargs="*", default=[], choices=[kind for kind, _title in Question.KINDS])
        parser.add_argument("--difficulty", nargs=2, type=int, default=[1, 5], metavar=("FROM", "TO"))
        parser.add_argument("--search", default="")
        parser.add_argument("--without-follow-ups", action="store_true")
        parser.add_argument("--scheduling", action="store_true", help="with the due dates of --user")
        parser.add_argument("--language", choices=["en", "zh"], default="en", help="of deck names, and shown first")
        parser.add_argument("--site", default="", help="address that links lead to; without it texts have no links")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        if file.suffix not in (".apkg", ".csv"):
            raise CommandError(f"{file}: the name has to end in .apkg or .csv")
        try:
            with translation.override(DJANGO_LANGUAGE[options["language"]]):
                content = self._deck(options).content()
        except NothingChosen as e:
            raise CommandError("No card fits") from e
        file.write_bytes(content)
        print(f"{file}: {len(content)} bytes", file=sys.stderr)

    def _deck(self, options: dict[str, Any]) -> Deck:
        user = User.objects.filter(username=options["user"]).first() if options["user"] else None
        if user is None and (options["user"] or options["scope"] != BANK or options["scheduling"]):
            raise CommandError(f"--user {options['user'] or ''}: name a learner for --scope and --scheduling")
        if unknown := set(options["topic"]) - set(Topic.objects.values_list("slug", flat=True)):
            raise CommandError(f"--topic {' '.join(sorted(unknown))}: unknown")
        selection = Selection(
            scope=options["scope"],
            topics=tuple(sorted(options["topic"])),
            kinds=tuple(sorted(options["kind"])),
            easiest=options["difficulty"][0],
            hardest=options["difficulty"][1],
            search=options["search"],
            with_follow_ups=not options["without_follow_ups"],
        )
        return Deck(
            selection,
            user,
            options["language"],
            format="csv" if options["file"].suffix == ".csv" else "apkg",
            site=options["site"].rstrip("/"),
            with_scheduling=options["scheduling"],
        )
