"""One attempt at a delivery: resolve once, check, connect to what was checked, send, read a little."""

import asyncio
import dataclasses
import functools
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from accounts import deliveries, webhook_addresses
from accounts.deliveries import Outcome
from accounts.errors import InvalidInput
from accounts.webhook_addresses import Resolve

# Standard Webhooks: 15 to 30 s; names, connections and the answer's headers included, what follows them not.
TIMEOUT_S = 15.0
# The status decides; what follows is only kept for who reads the log.
ANSWER_TIMEOUT_S = 2.0
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "naive-webhooks/1",
    # What is kept of an answer is kept as it came: nothing is unpacked here.
    "Accept-Encoding": "identity",
}
# What Retry-After may say; dates are not read.
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


class _Pinned(AbstractResolver):
    """Gives out the addresses that were checked, whatever a resolver would say by now."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def post(
    *,
    url: str,
    headers: Mapping[str, str],
    body: str,
    resolve: Resolve = webhook_addresses.lookup,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """Send one message to one endpoint; whatever goes wrong is an outcome.

    Shape: the name is resolved once, every address of it is checked, and the connection goes to these; Host and SNI
    are the name's. No redirect is followed, no proxy asked, no cookie kept, no connection used again.
    """
    began = time.monotonic()
    try:
        outcome = await _exchange(url, headers, body, resolve, tls or _tls())
    except TimeoutError:
        return Outcome(error=f"No answer within {TIMEOUT_S:.0f} seconds.", duration_ms=_since(began))
    except InvalidInput as exc:
        return Outcome(error=exc.message, duration_ms=_since(began))
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return Outcome(error=_words(exc), duration_ms=_since(began))
    return dataclasses.replace(outcome, duration_ms=_since(began))


async def _exchange(
    url: str, headers: Mapping[str, str], body: str, resolve: Resolve, tls: ssl.SSLContext
) -> Outcome:
    async with asyncio.timeout(TIMEOUT_S) as patience:
        target = webhook_addresses.check(url)
        loop = asyncio.get_running_loop()
        addresses = await loop.run_in_executor(None, resolve, target.host, target.port)
        webhook_addresses.require_addresses(target.host, addresses)
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(addresses), use_dns_cache=False, force_close=True, ssl=tls
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                trust_env=False,
            ) as session,
            session.post(
                URL(url, encoded=True),
                data=body.encode(),
                headers={**HEADERS, **headers},
                allow_redirects=False,
            ) as response,
        ):
            # It has answered in time; whether the rest comes decides nothing.
            patience.reschedule(None)
            return _outcome(response, await _beginning(response.content))


def _outcome(response: aiohttp.ClientResponse, answer: bytes) -> Outcome:
    status = response.status
    error = "" if 200 <= status < 300 else f"It answered {status}, not 2xx."
    if 300 <= status < 400:
        error += " Redirects are not followed."
    asked = response.headers.get("Retry-After", "")
    return Outcome(
        status_code=status,
        answer=answer,
        error=error,
        retry_after_s=int(asked) if _SECONDS.fullmatch(asked) else 0,
    )


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """What comes of an answer in a short while, and not all of that."""
    found = b""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while len(found) < deliveries.ANSWER_BYTES_MAX:
                piece = await content.read(deliveries.ANSWER_BYTES_MAX - len(found))
                if not piece:
                    break
                found += piece
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return found


def _words(exc: Exception) -> str:
    """Why there was no answer, in words that say nothing of our network."""
    if isinstance(exc, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return "Its TLS certificate is not valid for this name."
    if isinstance(exc, aiohttp.ClientSSLError | ssl.SSLError):
        return "No TLS connection could be made."
    if isinstance(exc, socket.gaierror):
        return "Its name does not resolve."
    if isinstance(exc, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return "No connection could be made."
    if isinstance(exc, aiohttp.ServerDisconnectedError | ConnectionError):
        return "It closed the connection without an answer."
    return f"It did not answer in HTTP ({type(exc).__name__})."


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
