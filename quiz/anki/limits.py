"""What a file from outside may hold. Generous for decks that people share, small enough for one web request."""

MAX_PACKAGE = 64 * 1024 * 1024  # bytes of an .apkg as it is sent, pictures and sound included
MAX_TABLE = 8 * 1024 * 1024  # bytes of a CSV or TSV file
MAX_DIRECTORY = 4 * 1024 * 1024  # bytes of a zip's directory; an entry takes at least 46
MAX_ENTRIES = 20_000
MAX_UNPACKED = 128 * 1024 * 1024  # bytes of the database inside
MAX_VALUE = 16 * 1024 * 1024  # bytes of one value in it; older Anki keeps all its note types in one
MAX_NOTES = 20_000
MAX_CARDS = 40_000
MAX_NOTE_TYPES = 2_000
MAX_DECKS = 10_000
MAX_FIELD = 64_000  # characters of one field, and of a front or back made from several
MAX_TEMPLATE = 20_000  # characters
MAX_DECK_NAME = 200
MAX_TAG = 100
MAX_TAGS = 50  # a note
MAX_SECONDS = 20  # of processor time, for reading it all
MAX_OWN_CARDS = 50_000  # a learner


class Refused(ValueError):
    """A file that is not read. The message names the file's part, what is wrong there and what is allowed."""
