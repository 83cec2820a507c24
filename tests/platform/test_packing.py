"""Pages and our own files come compressed to whoever takes that, and are the same to everybody else."""

import gzip
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from tests import factories

STYLE = "/static/css/naive.css"
HERE = Path(__file__).parents[2]


@pytest.fixture
def client() -> Client:
    return Client(SERVER_NAME="localhost")


def body(client: Client, url: str, **headers: str) -> tuple[dict[str, str], bytes]:
    answer = client.get(url, headers=headers)
    assert answer.status_code == 200
    content = b"".join(answer) if answer.streaming else answer.content
    answer.close()
    return dict(answer.headers), content


def test_file_is_compressed_for_whoever_takes_that(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    plain = (HERE / "static/css/naive.css").read_bytes()
    headers, packed = body(client, STYLE, accept_encoding="br, gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(packed))
    assert headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed) == plain
    headers, content = body(client, STYLE)
    assert "Content-Encoding" not in headers
    assert content == plain
    assert [path.suffix for path in (tmp_path / "packed").iterdir() if "naive.css" in path.name] == [".gz"]


def test_file_is_served_as_it_is_where_the_folder_cannot_be(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "packed").write_text("a file")
    settings.DATA_DIR = tmp_path
    headers, content = body(client, STYLE, accept_encoding="gzip")
    assert "Content-Encoding" not in headers
    assert content == (HERE / "static/css/naive.css").read_bytes()


def test_page_is_compressed_and_the_api_is_not(client: Client) -> None:
    acme = factories.acme()
    client.force_login(acme.owner, backend="django.contrib.auth.backends.ModelBackend")
    headers, packed = body(client, "/dashboard/kits/", accept_encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert b"<h1>Account Kits</h1>" in gzip.decompress(packed)
    headers, content = body(client, "/dashboard/kits/")
    assert "Content-Encoding" not in headers
    assert b"<h1>Account Kits</h1>" in content
    headers, _ = body(client, "/v1/account-kits", accept_encoding="gzip", authorization=acme.authorization)
    assert "Content-Encoding" not in headers
