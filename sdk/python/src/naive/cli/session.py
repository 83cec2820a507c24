"""One run of the command line: where its output goes, and the client it asks through."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from naive import errors, lazy, options
from naive.cli import config, exits
from naive.cli.terminal import Terminal

if TYPE_CHECKING:
    from naive import client as sdk
else:
    sdk = lazy.module("naive.client")


class Session:
    """What every command is given."""

    def __init__(self, *, is_json: bool) -> None:
        self.terminal = Terminal(is_json=is_json)
        self.action = "naive"
        self.asked_base_url: str | None = None

    @functools.cached_property
    def config(self) -> config.Config:
        return config.read()

    @property
    def base_url(self) -> str:
        """The platform's address: --base-url, else NAIVE_BASE_URL, else what the last sign-in was at."""
        found = self.asked_base_url or os.environ.get("NAIVE_BASE_URL") or self.config.base_url
        return options.address(found)

    @property
    def api_key(self) -> str | None:
        """NAIVE_API_KEY, else the key of the company that this platform knows us as."""
        if found := os.environ.get("NAIVE_API_KEY"):
            return options.key(found)
        company = self.config.host(self.base_url).company
        return company.api_key if company else None

    def required_key(self) -> str:
        """Return the key. Errors: ConfigurationError where there is none."""
        key = self.api_key
        if not key:
            raise errors.ConfigurationError(
                f"You are not signed in at {self.base_url}.",
                code=exits.NOT_SIGNED_IN,
                hint="Sign in, or set NAIVE_API_KEY.",
            )
        return key

    @functools.cached_property
    def client(self) -> sdk.Naive:
        """The SDK's client."""
        return sdk.Naive(api_key=self.required_key(), base_url=self.base_url)

    @functools.cached_property
    def async_client(self) -> sdk.AsyncNaive:
        return sdk.AsyncNaive(api_key=self.required_key(), base_url=self.base_url)

    @functools.cached_property
    def stranger(self) -> sdk.Naive:
        """A client for what needs no key, which sends none either."""
        return sdk.Naive(base_url=self.base_url, default_headers={"Authorization": ""})

    def of(self, user: str | None) -> Any:
        """Return the client for one tenant user, where one is named."""
        return self.client if user is None else self.client.for_user(user)


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given; the others are not sent."""
    return {name: value for name, value in options.items() if value is not None}
