"""Every setting of the platform, read once from the environment; nothing else reads `os.environ`."""

import ipaddress
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
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

# Proxies in front, addresses or networks with commas between: their X-Forwarded-For says where a request came from.
TRUSTED_PROXIES: list[str] = []
for _proxy in filter(None, (word.strip() for word in env.str("TRUSTED_PROXIES", "").split(","))):
    try:
        _network = ipaddress.ip_network(_proxy, strict=False)
    except ValueError as exc:
        raise ImproperlyConfigured(f"TRUSTED_PROXIES: {_proxy!r} is no address and no network.") from exc
    TRUSTED_PROXIES.append(str(_network))
    if _network.version == 4:
        # As a socket for both kinds of addresses spells it.
        TRUSTED_PROXIES.append(f"::ffff:{_network.network_address}/{96 + _network.prefixlen}")

# Who scrapes /metrics says this as a bearer token; unset, only this machine is answered.
METRICS_TOKEN = env.str("METRICS_TOKEN", "")

# Where spans of calls are sent; unset, none are made. Whatever else it reads of OTEL_…, the exporter reads itself.
OTEL_EXPORTER_OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", "")

# The one database and the one broker. `python -m naive_platform.embedded CMD` sets all three.
DATABASE_URL = env.str("DATABASE_URL", "postgresql://localhost/naive")
# The owner's login, for migrations only; unset, the login above is the owner too (billing/rights.py).
DATABASE_OWNER_URL = env.str("DATABASE_OWNER_URL", "")
REDIS_URL = env.str("REDIS_URL", "redis://localhost:6379/0")
DATABASES: dict[str, Any] = {"default": env.dj_db_url("DATABASE_URL", DATABASE_URL)}
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

# Upstream.
OPENROUTER_API_KEY = env.str("OPENROUTER_API_KEY", "")
# Reads the account's activity by model and day, which upstream does not tell to the key that makes calls; optional.
OPENROUTER_MANAGEMENT_KEY = env.str("OPENROUTER_MANAGEMENT_KEY", "")
OPENROUTER_BASE_URL = env.str("OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1").rstrip("/")
# By which upstream lists the operator's app; unset, it is told nothing.
UPSTREAM_REFERER = env.str("UPSTREAM_REFERER", "")
UPSTREAM_TITLE = env.str("UPSTREAM_TITLE", "")
# Set by `manage.py up` when it starts the simulator as upstream, so that every page can say so.
UPSTREAM_IS_SIMULATOR = env.bool("UPSTREAM_IS_SIMULATOR", False)

# What upstream sends with the traces it broadcasts to /v1/broadcast (docs/broadcast.md); unset, none are taken.
BROADCAST_SECRET = env.str("BROADCAST_SECRET", "")
# How long a trace of a call that is still open waits for the call's own gateway, which knows better.
BROADCAST_GRACE_S = env.float("BROADCAST_GRACE_S", 2.0, validate=validate.Range(min=0, max=30))

# Credits: docs/money.md.
_POSITIVE = validate.Range(min=0, min_inclusive=False)
CREDIT_VALUE_USD: Decimal = env.decimal("CREDIT_VALUE_USD", Decimal("0.50"), validate=_POSITIVE)
MARKUP: Decimal = env.decimal("MARKUP", Decimal("1.25"), validate=_POSITIVE)
SIGNUP_GRANT_CREDITS: Decimal = env.decimal("SIGNUP_GRANT_CREDITS", Decimal(20))
DEFAULT_HOLD_CREDITS: Decimal = env.decimal("DEFAULT_HOLD_CREDITS", Decimal(1))

# Top-ups: docs/topups.md. Without a key of Stripe's they are played in DEBUG, and off otherwise.
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", "")
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", "")
# For tests only, which change it in place: another server in Stripe's stead.
STRIPE_API_BASE = ""
# A movement by hand that is worth more needs a second person's approval. Unit: USD.
APPROVAL_ABOVE_USD: Decimal = env.decimal("APPROVAL_ABOVE_USD", Decimal(100_000), validate=_POSITIVE)
# How often it is looked whether somebody's credits run low, and how often owners are written to. Unit: seconds.
CREDIT_EVENTS_INTERVAL_S = env.float("CREDIT_EVENTS_INTERVAL_S", 30.0)

# E-mail to owners: `submission://user:password@host:587?_default_from_email=naive@host` (TLS), `smtp://…` (none) or
# `console:`; unset, nobody is written to.
EMAIL_URL = env.str("EMAIL_URL", "")
EMAIL_TIMEOUT_S = 10
_MAIL: dict[str, Any] = env.dj_email_url("EMAIL_URL") if EMAIL_URL else {}
MAILERS: dict[str, Any] = {"default": {"BACKEND": "django.core.mail.backends.dummy.EmailBackend"}}
if EMAIL_URL.startswith("console:"):
    MAILERS["default"] = {"BACKEND": "naive_platform.console_mail.EmailBackend"}
elif EMAIL_URL.startswith(("submission://", "smtp://")):
    MAILERS["default"] = {
        "BACKEND": _MAIL["EMAIL_BACKEND"],
        "OPTIONS": {
            "host": _MAIL["EMAIL_HOST"],
            "port": _MAIL["EMAIL_PORT"],
            "username": _MAIL["EMAIL_HOST_USER"] or "",
            "password": _MAIL["EMAIL_HOST_PASSWORD"] or "",
            "use_tls": _MAIL["EMAIL_USE_TLS"],
            "use_ssl": _MAIL["EMAIL_USE_SSL"],
            "timeout": EMAIL_TIMEOUT_S,
        },
    }
elif EMAIL_URL:
    raise ImproperlyConfigured("EMAIL_URL must begin with submission://, smtp:// or console:.")
DEFAULT_FROM_EMAIL: str = _MAIL.get("DEFAULT_FROM_EMAIL", "naive@localhost")

# Who signs in or registers over the API, counted through all gateways; 0 is no limit. Per address, for a quarter of an
# hour and for an hour.
SIGN_INS_PER_ADDRESS = env.int("SIGN_INS_PER_ADDRESS", 60, validate=validate.Range(min=0))
REGISTRATIONS_PER_ADDRESS = env.int("REGISTRATIONS_PER_ADDRESS", 10, validate=validate.Range(min=0))
# These counts alone; where Valkey does not answer, each process counts for itself (naive_platform/throttles.py).
CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "naive",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    },
    "process": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
}

# Data plane.
# Calls in a minute, through all gateways, of an API key that has no such limit of its own; 0 is no limit.
REQUESTS_PER_MINUTE = env.int("REQUESTS_PER_MINUTE", 0, validate=validate.Range(min=0, max=1_000_000))
MAX_CALLS_PER_COMPANY = env.int("MAX_CALLS_PER_COMPANY", 100)
MAX_CALLS_PER_PROCESS = env.int("MAX_CALLS_PER_PROCESS", 2000)
BODY_LIMIT_MB = env.int("BODY_LIMIT_MB", 32)
UPLOAD_LIMIT_MB = env.int("UPLOAD_LIMIT_MB", 25)
# A client that leaves a stream: `abort` upstream and reconcile by id, or `drain` it to its usage frame.
ON_DISCONNECT: str = env.str("ON_DISCONNECT", "abort", validate=validate.OneOf(["abort", "drain"]))
SPOOL_DIR = Path(env.str("SPOOL_DIR", str(DATA_DIR / "spool")))
# How long a settlement is tried again while the database is away, before it goes to the spool.
SETTLE_RETRY_S = env.float("SETTLE_RETRY_S", 2.0)
# Above either no new call is taken: so many open holds more than 10 minutes past due, so large a spool folder.
MAX_SETTLEMENT_DEBT = env.int("MAX_SETTLEMENT_DEBT", 1000, validate=validate.Range(min=1))
SPOOL_LIMIT_MB = env.int("SPOOL_LIMIT_MB", 256, validate=validate.Range(min=1))
# For tests only: where this process kills itself in the middle of a call (llm/crashpoints.py).
CRASH_AT = env.str("CRASH_AT", "")
if CRASH_AT and not DEBUG:
    raise ImproperlyConfigured("CRASH_AT has this process kill itself, in tests with DEBUG=1; unset it.")

# For tests and development only: events may be sent to private addresses (docs/webhooks.md).
WEBHOOK_ALLOW_PRIVATE = env.bool("WEBHOOK_ALLOW_PRIVATE", False)
if WEBHOOK_ALLOW_PRIVATE and not DEBUG:
    raise ImproperlyConfigured("WEBHOOK_ALLOW_PRIVATE opens this network to every customer; unset it.")

# Reconciliation: docs/reconciliation.md, "What is still open".
SWEEP_INTERVAL_S = env.float("SWEEP_INTERVAL_S", 2.0)
HOLD_TTL_S = env.int("HOLD_TTL_S", 900)
# The waits between look-ups of one open hold, in seconds; after the last one it is parked for a person.
LOOKUP_BACKOFF_S: list[float] = env.list(
    "LOOKUP_BACKOFF_S", [2, 5, 15, 60, 300, 900, 3600, 10800, 21600, 43200], subcast=float
)
# A call that upstream has named and not recorded for this long is settled by an estimate; 0 is never. In seconds.
ESTIMATE_AFTER_S = env.int("ESTIMATE_AFTER_S", 3600, validate=validate.Range(min=0))
# When upstream's record of a settled call is looked at again, in seconds after its settlement.
SECOND_LOOK_S: list[float] = env.list("SECOND_LOOK_S", [600, 86400], subcast=float)
# Look-ups of records that all workers together send upstream in a second.
LOOKUPS_PER_S = env.int("LOOKUPS_PER_S", 50, validate=validate.Range(min=1))
CATALOG_REFRESH_S = env.int("CATALOG_REFRESH_S", 300)

INSTALLED_APPS = [
    # First: its commands stand before Django's of the same name.
    "naive_platform",
    # Before the admin, whose templates it takes over; the site stays ours.
    "unfold.apps.BasicAppConfig",
    "naive_platform.apps.OperatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "accounts",
    "billing",
    "llm",
]

# Raw rows, beside the operator console (docs/operator.md).
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Naive",
    "SITE_HEADER": "Naive, raw rows",
    "SITE_URL": "/operator/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/favicon.svg"}],
    "SHOW_VIEW_ON_SITE": False,
    # Our accent, dark enough under white words.
    "COLORS": {
        "primary": {
            "50": "#f0f9f7",
            "100": "#e4f1ee",
            "200": "#c2e4dd",
            "300": "#95d3c7",
            "400": "#58c4b2",
            "500": "#1f9c8b",
            "600": "#0c6b60",
            "700": "#0a5950",
            "800": "#094a43",
            "900": "#083c37",
            "950": "#06231f",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": "naive_platform.operator.admin_site.navigation",
    },
}

# The control plane's; the data plane runs none (naive_platform/dataplane.py).
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "naive_platform.packing.PackedFilesMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    # Refusals in the shape their reader expects, with the headers above on them.
    "naive_platform.problems.ProblemMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
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
                "naive_platform.signing_in.looks.looks",
            ],
        },
    },
]

AUTH_USER_MODEL = "accounts.User"
# E-mail addresses are unique by a constraint on lower(email), which the first check cannot see. Where there is to be no
# e-mail, the second takes that for a mistake; ours says what follows from it (naive_platform/boot.py).
SILENCED_SYSTEM_CHECKS = ["auth.E003", *([] if EMAIL_URL else ["mail.E001"])]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/dashboard/"
LOGOUT_REDIRECT_URL = LOGIN_URL
# How long the link in a letter sets a new password. Unit: seconds.
PASSWORD_RESET_TIMEOUT = 3600

# django-allauth's own settings: what signing in is like does not differ between deployments.
ALLAUTH_SETTING_GETTER = "naive_platform.signing_in.options.get"

SECURE_CSP = {
    "default-src": ["'self'"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "object-src": ["'none'"],
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
# A working day; whoever works on signs in again. Unit: seconds.
SESSION_COOKIE_AGE = 8 * 3600
if not DEBUG:
    # Browsers take these from this host alone, over TLS, so that no neighbour under the same domain can plant one.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# The files are few: they are served from where they lie, and there is nothing to collect before a start.
WHITENOISE_USE_FINDERS = True

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
# A task that a worker took and did not finish is another worker's; every task is safe to run twice and beside itself.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Longer than any task runs; one that is lost with its worker's machine comes with the next tick in any case.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# One line a record on stderr, for web, worker and commands alike; never a key, a prompt or a completion. Unset, it is
# text in a terminal and JSON elsewhere.
LOG_FORMAT: str = env.str("LOG_FORMAT", "", validate=validate.OneOf(["", "json", "text"]))
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "naive_platform.logs.LineFormatter"},
        "json": {"()": "naive_platform.logs.JSONFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT or ("text" if sys.stderr.isatty() else "json"),
        }
    },
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
