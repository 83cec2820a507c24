"""`~/.naive/config.json`: which platform, which company, and a key for each. The environment wins over it.

    {"base_url": "http://localhost:8000",
     "hosts": {"http://localhost:8000": {"company_id": "…", "companies": {"…": {"name": "Acme", "api_key": "…"}}}}}

A key is kept with the platform that gave it, and is sent to no other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from naive import errors, options
from naive.cli import files

NAME = ".naive/config.json"


@dataclass(slots=True)
class Company:
    """A company that somebody signed in to."""

    name: str
    api_key: str = field(repr=False)


@dataclass(slots=True)
class Host:
    """What is known at one platform, and which of its companies is spoken for."""

    company_id: str | None = None
    companies: dict[str, Company] = field(default_factory=dict)

    @property
    def company(self) -> Company | None:
        return self.companies.get(self.company_id or "")


@dataclass(slots=True)
class Config:
    """The whole file."""

    base_url: str = options.DEFAULT_BASE_URL
    hosts: dict[str, Host] = field(default_factory=dict)

    def host(self, base_url: str) -> Host:
        return self.hosts.setdefault(base_url, Host())

    def keep(self, *, base_url: str, company_id: str, name: str, api_key: str) -> None:
        """Speak for this company at this platform from now on."""
        host = self.host(base_url)
        host.companies[company_id] = Company(name=name, api_key=api_key)
        host.company_id = company_id
        self.base_url = base_url

    def forget(self, base_url: str) -> list[Company]:
        """Return the companies of a platform, of which nothing is known any more."""
        host = self.hosts.pop(base_url, Host())
        self.base_url = next(iter(self.hosts), options.DEFAULT_BASE_URL)
        return list(host.companies.values())


def path() -> Path:
    return Path.home() / NAME


def read() -> Config:
    """Return what is kept; an empty configuration where nothing is. Errors: ConfigurationError."""
    try:
        return _parsed(json.loads(path().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise errors.ConfigurationError(
            f"{path()} cannot be read: {type(exc).__name__}.",
            code="invalid_config",
            hint="Move it away and sign in again.",
        ) from exc


def write(config: Config) -> None:
    """Replace the file at once, for this person's eyes only."""
    hosts: dict[str, Any] = {
        url: {
            "company_id": host.company_id,
            "companies": {
                id: {"name": company.name, "api_key": company.api_key}
                for id, company in host.companies.items()
            },
        }
        for url, host in config.hosts.items()
    }
    text = json.dumps({"base_url": config.base_url, "hosts": hosts}, indent=2, ensure_ascii=False)
    path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path().parent.chmod(0o700)
    files.replace(path(), text + "\n")


def _parsed(data: dict[str, Any]) -> Config:
    hosts = {
        str(url): Host(
            company_id=host["company_id"],
            companies={
                str(id): Company(name=str(company["name"]), api_key=str(company["api_key"]))
                for id, company in host["companies"].items()
            },
        )
        for url, host in data["hosts"].items()
    }
    return Config(base_url=str(data["base_url"]), hosts=hosts)
