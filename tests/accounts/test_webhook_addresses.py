"""Where events may be sent: every spelling of a private address is refused, and every private address."""

import ipaddress
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts import webhook_addresses
from accounts.errors import InvalidInput

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]
PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),  # noqa: S104
    *("192.168.1.1", "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "192.0.0.192"),
    *("192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "192.88.99.1", "224.0.0.1", "239.1.2.3"),
    *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::5db8:d822", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::1"),
    *("2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:5db8:d822::1"),
    *(
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "4000::1",
    ),
    *("fe80::1%eth0", "2606:4700::1111%1", "", "not an address", "127.1", "0x7f.0.0.1"),
]
# Host, as it stands in a URL.
ODD_HOSTS = [
    *("2130706433", "017700000001", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01"),
    *(
        "0x7f.0.0.1",
        "127.0.0.0x1",
        "hooks.example.com.0x7f",
        "hooks.example.com.127",
        "1.2.3.4.5",
        "256.1.1.1",
    ),
    *(
        "127.0.0.1.",
        "hooks.example.com.",
        ".hooks.example.com",
        "hooks..example.com",
        "",
        ".",
        "-a.example.com",
    ),
    *(
        "a-.example.com",
        "hooks_a.example.com",
        "hooks%2eexample.com",
        "127.0.0.1%00.example.com",
        "%6cocalhost",
    ),
    *(
        "höoks.example.com",
        "hooks。example.com",
        "①②⑦.⓪.⓪.①",
        "\uff4cocalhost",
        "exam ple.com",
        "a" * 64 + ".com",
    ),
    *("a." * 130 + "com", "hooks.example.com\\@127.0.0.1", "hooks.example.com\t", "*.example.com"),
    *(
        "user@hooks.example.com",
        "user:secret@hooks.example.com",
        "hooks.example.com@127.0.0.1",
        "@hooks.example.com",
    ),
    *(
        "[::1",
        "::1",
        "[::1]x",
        "[]",
        "[127.0.0.1]",
        "[fe80::1%25eth0]",
        "[0:0:0:0:0:0:0:1]",
        "[::FFFF:1.2.3.4]",
    ),
    *("[2606:4700:0::1111]", "[v1.fe80]"),
]
PRIVATE_NAMES = [
    *(
        "localhost",
        "LOCALHOST",
        "intranet",
        "a.localhost",
        "db.local",
        "metadata.google.internal",
        "router.lan",
    ),
    *("nas.home", "nas.home.arpa", "1.0.0.127.in-addr.arpa", "git.corp", "a.intranet", "a.private", "a.test"),
]
ODD_PORTS = [
    "",
    "0",
    "00443",
    "0443",
    "+443",
    "-1",
    "443x",
    "4 43",
    "65536",
    "99999999999",
    "٤٤٣",
    "22",
    "25",
    "80",
]


def answering(*addresses: str) -> webhook_addresses.Resolve:
    def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.parametrize("address", PRIVATE)
def test_address_that_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert not webhook_addresses.is_public(address)
    with pytest.raises(InvalidInput, match="not public"):
        webhook_addresses.require_public("https://hooks.example.com/", resolve=answering(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_accepted(address: str) -> None:
    assert webhook_addresses.is_public(address)
    host = f"[{address}]" if ":" in address else address
    webhook_addresses.require_public(f"https://{host}/hook", resolve=answering(address))


@pytest.mark.parametrize("address", [a for a in PRIVATE if a and "%" not in a and a[-1].isalnum()])
def test_private_address_in_the_url_itself_is_refused_before_any_look_up(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidInput, match=r"^url: "):
        webhook_addresses.check(f"https://{host}/")


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(InvalidInput, match="not public"):
        webhook_addresses.require_public("https://hooks.example.com/", resolve=answering(*PUBLIC, "10.0.0.1"))


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_host_in_an_odd_spelling_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"^url: "):
        webhook_addresses.check(f"https://{host}/hook")


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_name_of_a_private_network_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="private network"):
        webhook_addresses.check(f"https://{name}/hook")


@pytest.mark.parametrize("port", ODD_PORTS)
def test_odd_or_privileged_port_is_refused(port: str) -> None:
    with pytest.raises(InvalidInput, match=r"^url: "):
        webhook_addresses.check(f"https://hooks.example.com:{port}/hook")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://hooks.example.com", "hooks.example.com", 443),
        ("https://hooks.example.com:443/", "hooks.example.com", 443),
        ("https://Hooks.Example.com:8443/a/b?c=d&e=%20", "hooks.example.com", 8443),
        ("https://hooks.example.com?to=me@example.com", "hooks.example.com", 443),
        ("https://xn--hoks-5qa.example.com/~a", "xn--hoks-5qa.example.com", 443),
        ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443),
    ],
)
def test_ordinary_url_leads_where_it_says(url: str, host: str, port: int) -> None:
    assert webhook_addresses.check(url) == webhook_addresses.Target(host=host, port=port)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "hooks.example.com",
            "//hooks.example.com/",
            "https:/hooks.example.com",
            "https:hooks.example.com",
        ),
        *(
            "ftp://hooks.example.com",
            "file:///etc/passwd",
            "gopher://hooks.example.com",
            "HTTPS ://a.example.com",
        ),
        *(
            "https://hooks.example.com/#a",
            "https://hooks.example.com/a b",
            "https://hooks.example.com/\\..\\",
        ),
        *(
            "https://hooks.example.com/\n",
            "https://hooks.example.com/\x00",
            "https://hooks.example.com/ü",
            "https://",
        ),
        *(" https://hooks.example.com", "https://hooks.example.com/\r\nX: y", 'https://hooks.example.com/"'),
        *("javascript://hooks.example.com/%0aalert(1)", "https://hooks.example.com/" + "a" * 2048),
        *(None, 7, ["https://hooks.example.com"]),
    ],
    ids=lambda url: repr(url)[:40],
)
def test_what_is_no_plain_https_url_is_refused(url: object) -> None:
    with pytest.raises(InvalidInput, match=r"^url: "):
        webhook_addresses.check(url)


def test_http_is_for_development_alone(settings: Settings) -> None:
    settings.DEBUG = False
    with pytest.raises(InvalidInput, match="must begin with https://"):
        webhook_addresses.check("http://hooks.example.com/")
    settings.DEBUG = True
    assert webhook_addresses.check("http://hooks.example.com/").port == 80


def test_private_addresses_are_for_development_alone_and_odd_spellings_for_nobody(settings: Settings) -> None:
    settings.DEBUG = settings.WEBHOOK_ALLOW_PRIVATE = True
    webhook_addresses.require_public("http://127.0.0.1:8001/hook")
    webhook_addresses.require_public("http://localhost:8001/hook")
    for host in ("2130706433", "127.1", "user@localhost", "127.0.0.1."):
        with pytest.raises(InvalidInput):
            webhook_addresses.check(f"http://{host}:8001/")


def test_name_that_does_not_resolve_now_may_come_to() -> None:
    def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    webhook_addresses.require_public("https://new.example.com/", resolve=resolve)


def test_resolver_that_hangs_holds_up_a_registration_for_moments_only() -> None:
    answered = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        answered.wait(30)
        return ["127.0.0.1"]

    webhook_addresses.require_public("https://slow.example.com/", resolve=resolve)
    assert not answered.is_set()
    answered.set()


def test_look_ups_that_nobody_waits_for_any_more_are_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else names that hang would queue up for as long as the process lives."""
    monkeypatch.setattr(webhook_addresses, "RESOLVE_TIMEOUT_S", 0.01)
    answered = threading.Event()
    begun: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        begun.append(host)
        answered.wait(30)
        return []

    for number in range(webhook_addresses.RESOLVERS + 3):
        webhook_addresses.require_public(f"https://{number}.slow.example.com/", resolve=resolve)
    answered.set()
    # Whatever waited before this has had its turn by now.
    for _ in range(webhook_addresses.RESOLVERS):
        webhook_addresses._resolving.submit(int).result(10)
    assert len(begun) <= webhook_addresses.RESOLVERS


@given(st.integers(0, 2**32 - 1))
def test_ipv4_is_public_only_where_pythons_own_table_agrees(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    assert not webhook_addresses.is_public(str(address)) or address.is_global
    for wrapped in (
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1",
    ):
        assert not webhook_addresses.is_public(wrapped)


@given(st.text(max_size=40))
def test_no_host_that_is_accepted_means_something_else_to_another_reader(host: str) -> None:
    """Whatever is accepted is a plain name or the canonical spelling of a public address."""
    try:
        found = webhook_addresses.check(f"https://{host}/").host
    except InvalidInput:
        return
    assert found.isascii()
    if found.replace(".", "").isdigit() or ":" in found:
        assert webhook_addresses.is_public(found)
