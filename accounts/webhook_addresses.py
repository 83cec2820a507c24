"""Which addresses events may be sent to: how a URL is spelt, and which machines a name may stand for."""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass

from django.conf import settings

from accounts import fields
from accounts.errors import InvalidInput
from accounts.webhook_models import URL_LENGTH_MAX

# How long a registration waits for a name; one that does not resolve now is looked at when something is delivered.
RESOLVE_TIMEOUT_S = 2.0
RESOLVERS = 4
PORTS = {"https": 443, "http": 80}
PORT_MIN = 1024
PORT_MAX = 65535

_PATH = re.compile(r"[!$-\[\]-~]*", re.ASCII)  # Printable, without space, quote, hash and backslash.
_END = re.compile(r"[/?]")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
# What browsers and libc take for the end of an IPv4 address: decimal, octal or hexadecimal.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
NAME_LENGTH_MAX = 253
# Names that mean this machine or this network, whatever a resolver says.
_LOCAL_NAMES = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "private",
    "arpa",
    "test",
)

# Beside what `ipaddress` holds for not global; Python's versions differ in some of these.
_REFUSED_V4 = [
    ipaddress.IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        # A cloud's own services for its machines, at a public address.
        "168.63.129.16/32",
    )
]
# Nothing else is given out; of it, what carries an IPv4 address (Teredo, 6to4) or belongs to nobody.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = [
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]

type IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# From a host and a port to every address they stand for, each in its canonical spelling. Errors: OSError.
type Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: its host, in lower case and without brackets, and its port."""

    host: str
    port: int


def check(url: object) -> Target:
    """The target of a URL that is spelt in the one way everybody reads alike.

    Shape: asks no resolver; an address that stands in the URL itself is checked.
    Errors: InvalidInput, which says what is wrong.
    """
    if not isinstance(url, str):
        raise _refuse("must be a string.")
    if len(url) > URL_LENGTH_MAX:
        raise _refuse(f"must have at most {URL_LENGTH_MAX} characters, not {len(url)}.")
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in _schemes():
        raise _refuse(f"must begin with {' or '.join(f'{name}://' for name in _schemes())}.")
    if not _PATH.fullmatch(rest):
        raise _refuse("must be printable ASCII without spaces, quotes, backslashes and a fragment (#…).")
    authority = _END.split(rest, maxsplit=1)[0]
    if "@" in authority:
        raise _refuse("must not hold a user name or a password; deliveries are signed.")
    host, port = _split(authority)
    _require_host(host)
    return Target(host=host, port=_port(port, scheme))


def require_public(url: object, *, resolve: Resolve | None = None) -> None:
    """Refuse a URL that leads to a machine of this network; a name that does not resolve now may come to.

    Errors: InvalidInput.
    """
    target = check(url)
    asked = _resolving.submit(resolve or lookup, target.host, target.port)
    try:
        found = asked.result(RESOLVE_TIMEOUT_S)
    except (OSError, UnicodeError, futures.TimeoutError):
        # What has not begun yet need not.
        asked.cancel()
        return
    require_addresses(target.host, found)


def require_addresses(host: str, addresses: Sequence[str]) -> None:
    """Refuse a host of whose addresses even one may not be sent to. Errors: InvalidInput."""
    if not addresses:
        raise _refuse(f'"{host}" has no address.')
    if not settings.WEBHOOK_ALLOW_PRIVATE and not all(is_public(address) for address in addresses):
        raise _refuse(
            f'"{host}" stands for an address that is not public; events are sent to the public internet only.'
        )


def is_public(address: str) -> bool:
    """Whether an address belongs to a machine that anybody on the internet may reach."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if not found.is_global or found.is_multicast or found.is_reserved:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in _REFUSED_V4)
    return (
        found in _GLOBAL_V6
        and found.scope_id is None
        and not any(found in network for network in _REFUSED_V6)
    )


def lookup(host: str, port: int) -> list[str]:
    """Every address of a host, by this machine's resolver. Errors: OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def _schemes() -> tuple[str, ...]:
    return ("https", "http") if settings.DEBUG else ("https",)


def _split(authority: str) -> tuple[str, str | None]:
    """Host and port of an authority, the port as written; None where there is no colon."""
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _refuse("must have its IPv6 address in brackets.")
        if not _is_canonical(host, ipaddress.IPv6Address):
            raise _refuse("must spell its IPv6 address in the canonical form, without a zone.")
        return host, rest[1:] if rest else None
    host, colon, port = authority.partition(":")
    return host.lower(), port if colon else None


def _port(written: str | None, scheme: str) -> int:
    if written is None:
        return PORTS[scheme]
    port = int(written) if _PORT.fullmatch(written) else 0
    if port != PORTS[scheme] and not PORT_MIN <= port <= PORT_MAX:
        raise _refuse(f"must have the port {PORTS[scheme]}, or one from {PORT_MIN} to {PORT_MAX}.")
    return port


def _require_host(host: str) -> None:
    if ":" in host or _is_canonical(host, ipaddress.IPv4Address):
        require_addresses(host, [host])
        return
    labels = host.split(".")
    if not host or len(host) > NAME_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refuse(
            "must name its host in letters, digits and hyphens (an international name as xn--…), without a final dot."
        )
    if _NUMBER.fullmatch(labels[-1]):
        raise _refuse("must spell an IPv4 address as four decimal numbers, such as 192.0.2.1.")
    if not settings.WEBHOOK_ALLOW_PRIVATE and (len(labels) < 2 or labels[-1] in _LOCAL_NAMES):
        raise _refuse(f'"{host[: fields.SHOWN_LENGTH_MAX]}" is a name of a private network.')


def _is_canonical(host: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> bool:
    try:
        return str(kind(host)) == host
    except ValueError:
        return False


def _refuse(rule: str) -> InvalidInput:
    return fields.refuse("url", rule)


_resolving = futures.ThreadPoolExecutor(RESOLVERS, thread_name_prefix="webhook-names")
