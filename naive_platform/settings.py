"""Every setting of the platform, read once from the environment; nothing else reads `os.environ`."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from environs import Env, validate

env = Env()

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("NAIVE_DATA_DIR", str(BASE_DIR / ".naive")))

DEBUG = env.bool("DEBUG", False)

_DEV_SECRET = "naive-development-only"  # noqa: S105 - only with DEBUG.
SECRET_KEY = env.str("SECRET_KEY", _DEV_SECRET if DEBUG else "")
KEY_PEPPER = env.str("KEY_PEPPER", _DEV_SECRET if DEBUG else "")
# What a process that serves or works refuses to start without (naive_platform/boot.py).
MISSING_SECRETS = [
    name for name, value in (("SECRET_KEY", SECRET_KEY), ("KEY_PEPPER", KEY_PEPPER)) if not value
]

PUBLIC_URL = env.str("PUBLIC_URL", "")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", ["*"] if DEBUG else ["localhost", "127.0.0.1", "[::1]"])

# The one database and the one broker. `python -m naive_platform.embedded CMD` sets both.
DATABASE_URL = env.str("DATABASE_URL", "postgresql://localhost/naive")
REDIS_URL = env.str("REDIS_URL", "redis://localhost:6379/0")
DATABASES: dict[str, Any] = {"default": env.dj_db_url("DATABASE_URL", DATABASE_URL)}
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

# Upstream.
OPENROUTER_API_KEY = env.str("OPENROUTER_API_KEY", "")
OPENROUTER_BASE_URL = env.str("OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1").rstrip("/")
# Set by `manage.py up` when it starts the simulator as upstream, so that every page can say so.
UPSTREAM_IS_SIMULATOR = env.bool("UPSTREAM_IS_SIMULATOR", False)

# Credits: docs/money.md.
_POSITIVE = validate.Range(min=0, min_inclusive=False)
CREDIT_VALUE_USD: Decimal = env.decimal("CREDIT_VALUE_USD", Decimal("0.50"), validate=_POSITIVE)
MARKUP: Decimal = env.decimal("MARKUP", Decimal("1.25"), validate=_POSITIVE)
SIGNUP_GRANT_CREDITS: Decimal = env.decimal("SIGNUP_GRANT_CREDITS", Decimal(20))
DEFAULT_HOLD_CREDITS: Decimal = env.decimal("DEFAULT_HOLD_CREDITS", Decimal(1))

# Data plane.
MAX_CALLS_PER_COMPANY = env.int("MAX_CALLS_PER_COMPANY", 100)
MAX_CALLS_PER_PROCESS = env.int("MAX_CALLS_PER_PROCESS", 2000)
BODY_LIMIT_MB = env.int("BODY_LIMIT_MB", 32)
# A client that leaves a stream: `abort` upstream and reconcile by id, or `drain` it to its usage frame.
ON_DISCONNECT: str = env.str("ON_DISCONNECT", "abort", validate=validate.OneOf(["abort", "drain"]))
SPOOL_DIR = Path(env.str("SPOOL_DIR", str(DATA_DIR / "spool")))
# How long a settlement is tried again while the database is away, before it goes to the spool.
SETTLE_RETRY_S = env.float("SETTLE_RETRY_S", 2.0)

# Reconciliation: docs/money.md, "What is still open".
SWEEP_INTERVAL_S = env.float("SWEEP_INTERVAL_S", 2.0)
HOLD_TTL_S = env.int("HOLD_TTL_S", 900)
# The waits between look-ups of one open hold, in seconds; after the last one it is parked for a person.
LOOKUP_BACKOFF_S: list[float] = env.list(
    "LOOKUP_BACKOFF_S", [2, 5, 15, 60, 300, 900, 3600, 10800, 21600, 43200], subcast=float
)
CATALOG_REFRESH_S = env.int("CATALOG_REFRESH_S", 300)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "naive_platform",
    "accounts",
    "billing",
    "llm",
]

# The control plane's; the data plane runs none (naive_platform/dataplane.py).
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    # Refusals in the shape their reader expects, with the headers above on them.
    "naive_platform.problems.ProblemMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "naive_platform.urls"
ASGI_APPLICATION = "naive_platform.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.csp",
            ],
        },
    },
]

AUTH_USER_MODEL = "accounts.User"
# E-mail addresses are unique by a constraint on lower(email), which this check cannot see.
SILENCED_SYSTEM_CHECKS = ["auth.E003"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/dashboard/"
LOGOUT_REDIRECT_URL = "/login/"

SECURE_CSP = {
    "default-src": ["'self'"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "object-src": ["'none'"],
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# The files are few: they are served from where they lie, and there is nothing to collect before a start.
WHITENOISE_USE_FINDERS = True

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Beat only ticks; what there is to do stands in the database (docs/money.md).
CELERY_BEAT_SCHEDULE: dict[str, Any] = {
    "sweep-open-holds": {
        "task": "llm.tasks.sweep_open_holds",
        "schedule": SWEEP_INTERVAL_S,
        "options": {"expires": max(SWEEP_INTERVAL_S, 10.0)},
    },
    "replay-spool": {"task": "llm.tasks.replay_spool", "schedule": 30.0, "options": {"expires": 30}},
    "refresh-catalog": {
        "task": "llm.tasks.refresh_catalog",
        "schedule": float(CATALOG_REFRESH_S),
        "options": {"expires": CATALOG_REFRESH_S},
    },
}

# One line a record on stderr, for web, worker and commands alike; never a key, a prompt or a completion.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "naive_platform.logs.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        **{app: {"level": "INFO"} for app in ("accounts", "billing", "llm", "naive_platform")},
        # These bring handlers of their own, or would be silent without DEBUG.
        **{
            library: {"handlers": [], "level": "WARNING", "propagate": True}
            for library in ("django", "uvicorn", "uvicorn.error", "uvicorn.access", "celery")
        },
        # When a worker is ready.
        "celery.apps": {"level": "INFO"},
    },
}
