"""Settings: one file, from the environment. The operator guide (docs/operator.md) lists every variable."""

import re
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from config import embedded, environment
from config.environment import (
    broker_url,
    database_from_url,
    env_bool,
    env_int,
    env_list,
    env_secret,
    env_str,
    env_time_zone,
    passwords,
)

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = re.search(r"^## v(\S+)", (BASE_DIR / "CHANGELOG.md").read_text(), re.MULTILINE)[1]  # type: ignore[index]

# Where it runs -------------------------------------------------------------------------------------------------------

DEBUG = env_bool("DEBUG", False)
DATA_DIR = Path(env_str("DATA_DIR", str(BASE_DIR / "var"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)
HOST = env_str("HOST", "127.0.0.1")  # where `manage.py up` listens
PORT = env_int("PORT", 8000, low=1, high=65535)
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS", [])
HTTPS = env_bool("HTTPS", False)  # served behind a proxy that speaks TLS

DATABASE_URL = env_secret("DATABASE_URL")
REDIS_URL = broker_url("REDIS_URL", env_secret("REDIS_URL"))

SECRET_KEY = env_secret("SECRET_KEY")
if not SECRET_KEY and (DATABASE_URL or REDIS_URL):
    raise ImproperlyConfigured("SECRET_KEY (or SECRET_KEY_FILE) is required when DATABASE_URL or REDIS_URL is set")
SECRET_KEY = SECRET_KEY or embedded.kept_secret(DATA_DIR / "secret_key")
# Whoever sends it reads /metrics from anywhere; without one only this machine itself may.
METRICS_TOKEN = env_secret("METRICS_TOKEN")

# Database ------------------------------------------------------------------------------------------------------------

# Measured with 8 writers for 10 s: no lock error with these, 703 with Django's defaults. IMMEDIATE takes the write lock
# when a transaction begins, so ATOMIC_REQUESTS (a transaction for every page) must stay off.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
        "PRAGMA cache_size=-20000; PRAGMA temp_store=MEMORY;"
    ),
}
# A page waits at most 5 s for a database that is gone, not psycopg's 30.
POSTGRES_OPTIONS = {"pool": {"min_size": 1, "max_size": 8, "timeout": 5}, "connect_timeout": 3}

EMBEDDED_DATABASE = {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "proofdeck.sqlite3"}
database: dict[str, Any] = database_from_url("DATABASE_URL", DATABASE_URL) if DATABASE_URL else EMBEDDED_DATABASE
if database["ENGINE"].endswith("sqlite3"):
    database["OPTIONS"] = SQLITE_OPTIONS
    # Each thread keeps its connection: to open the file and read the schema takes as long as half a page.
    database["CONN_MAX_AGE"] = None
else:
    database["OPTIONS"] = {**database.get("OPTIONS", {}), **POSTGRES_OPTIONS}
DATABASES = {"default": database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Queue ---------------------------------------------------------------------------------------------------------------

# The longest time that one lab run may take, in seconds.
RUN_TIME_LIMIT = env_int("RUN_TIME_LIMIT", 2 * 3600, low=60, high=7 * 24 * 3600)
RUN_MEMORY_LIMIT_MB = env_int("RUN_MEMORY_LIMIT_MB", 16 * 1024, low=512, high=4 * 1024 * 1024)
RUN_GPU_MEMORY_PERCENT = env_int("RUN_GPU_MEMORY_PERCENT", 95, low=1, high=100)
# Of all files that a run has in its folder at the same time.
RUN_DISK_LIMIT_MB = env_int("RUN_DISK_LIMIT_MB", 4 * 1024, low=1, high=4 * 1024 * 1024)
# A worker that has been silent for longer loses its run to another one.
RUN_LEASE_SECONDS = env_int("RUN_LEASE_SECONDS", 15, low=2, high=600)
# Workers in a row, without a point finished in between, that a run may take down.
RUN_MAX_ATTEMPTS = env_int("RUN_MAX_ATTEMPTS", 3, low=1, high=100)

# What one user may have, staff excepted: runs under way (more wait), runs that wait, and minutes of runs a day.
USER_MAX_RUNNING = env_int("USER_MAX_RUNNING", 2, low=1, high=1000)
USER_MAX_WAITING = env_int("USER_MAX_WAITING", 5, low=1, high=1000)
USER_MINUTES_PER_DAY = env_int("USER_MINUTES_PER_DAY", 480, low=1, high=100 * 24 * 60)
# Work of one run, in percent of the preset `standard` (on a GPU: of `gpu`), staff excepted.
LEARNER_WORK_PERCENT = env_int("LEARNER_WORK_PERCENT", 100, low=1, high=100_000)
# Runs of all users that may wait.
QUEUE_LENGTH = env_int("QUEUE_LENGTH", 100, low=1, high=100_000)

# A task that is not acknowledged within this time is delivered again, even to the worker that still works on it: it has
# to be longer than the longest run, in all three places.
VISIBILITY_TIMEOUT = RUN_TIME_LIMIT + 3600
CELERY_BROKER_URL = REDIS_URL or embedded.valkey_url(DATA_DIR)
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
CELERY_VISIBILITY_TIMEOUT = VISIBILITY_TIMEOUT
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": VISIBILITY_TIMEOUT,
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
}
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": VISIBILITY_TIMEOUT}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "cpu"
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# Labs ----------------------------------------------------------------------------------------------------------------

# Models that a run may ask for by name; the model store (worker.models) knows where each comes from.
LAB_MODELS = env_list("LAB_MODELS", ["smollm2-135m", "minilm-l6"])
MODELS_DIR = DATA_DIR / "models"
RUNS_DIR = DATA_DIR / "runs"
CONTENT_DIR = BASE_DIR / "content"
# Where runs that succeeded are written as TensorBoard event files; nowhere when it is empty.
TENSORBOARD_DIR = env_str("TENSORBOARD_DIR")

# Applications --------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "config",
    "kb",
    "labs",
    "quiz",
    "worker",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "simple_history",
]
MIDDLEWARE = [
    "config.logs.RequestLog",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.middleware.LimitForms",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.metrics.RequestMetrics",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "kb-home"
LOGOUT_REDIRECT_URL = "kb-home"

# Language and time ---------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env_time_zone("TIME_ZONE", "UTC")
USE_TZ = True

# Files and cache -----------------------------------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MANIFEST_STORAGE = "whitenoise.storage.CompressedManifestStaticFilesStorage"
PLAIN_STORAGE = "django.contrib.staticfiles.storage.StaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": PLAIN_STORAGE if DEBUG else MANIFEST_STORAGE},
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "TIMEOUT": None,  # what is cached is keyed by a hash of its source
        "OPTIONS": {"MAX_ENTRIES": 5000},
    }
}

# Security ------------------------------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
# Bytes of one form; the longest honest answer is far below. What an editor pastes by mistake has to reach the form, so
# that the page can say what is wrong and still show it (config.middleware.LimitForms).
FORM_LIMIT = 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = EDITOR_FORM_LIMIT = 8 * FORM_LIMIT
DECK_LIMIT = 64 * FORM_LIMIT  # a file of own cards; Anki decks carry pictures and sound, which are left out

# Grader of mock interviews -------------------------------------------------------------------------------------------

# Any OpenAI-compatible endpoint, without its `/chat/completions`. Nothing is sent anywhere while this is empty.
GRADER_URL = env_str("GRADER_URL")
GRADER_MODEL = env_str("GRADER_MODEL")
GRADER_API_KEY = env_secret("GRADER_API_KEY")
GRADER_TIMEOUT = env_int("GRADER_TIMEOUT", 60, low=1, high=600)  # seconds
if GRADER_URL and not GRADER_URL.startswith(("http://", "https://")):
    raise ImproperlyConfigured("Unexpected value in GRADER_URL: use https://host/v1")
if GRADER_URL and not GRADER_MODEL:
    raise ImproperlyConfigured("GRADER_MODEL is required when GRADER_URL is set")
CELERY_IMPORTS = ["worker.grading"]

# API -----------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "config.rest.Pages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_RATES": {"login": "20/min", "report": "10/hour"},
    "NUM_PROXIES": 1 if HTTPS else 0,  # who asks: the address before the proxy, never one that the client made up
    "EXCEPTION_HANDLER": "config.rest.handle_exception",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Proofdeck",
    "DESCRIPTION": "Knowledge, questions, claims with computed verdicts, and lab runs.",
    "VERSION": VERSION,
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "config.rest.describe_errors"],
}

# Logs ----------------------------------------------------------------------------------------------------------------

LOG_FORMAT = env_str("LOG_FORMAT", "text", choices=("text", "json"))
LOG_LEVEL = env_str("LOG_LEVEL", "INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
# The formatters take these out of every line.
SECRETS = [SECRET_KEY, *environment.SECRETS, *passwords(CELERY_BROKER_URL)]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "config.logs.TextFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
            "secrets": SECRETS,
        },
        "json": {"()": "config.logs.JsonFormatter", "secrets": SECRETS},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        # A line a request is for machines to read; on a terminal it would bury all others.
        "config.requests": {"level": LOG_LEVEL if LOG_FORMAT == "json" else "WARNING"},
    },
}
