"""A form is read as it passes, however it is cut, and nothing of its file is kept."""

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.errors import InvalidInput
from llm.shapes import forms
from llm.shapes.forms import Form

BOUNDARY = b"----WebKitFormBoundaryx"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'


def field(name: str, value: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="%s"\r\n\r\n%s' % (name.encode(), value)


def form(*parts: bytes, boundary: bytes = BOUNDARY, end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--" + boundary + end


def pieces(raw: bytes, size: int) -> Iterator[bytes]:
    return (raw[start : start + size] for start in range(0, len(raw), size))


def read(raw: bytes, size: int = 1 << 20, boundary: bytes = BOUNDARY) -> dict[str, str]:
    reader = Form(boundary)
    for piece in pieces(raw, size):
        reader.feed(piece)
    return dict(reader.finish())


SOUND = bytes(range(256)) * 8 + b"\r\n--" + BOUNDARY[:-1] + b"\r\n\r\n" + b"--\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize(
    "raw",
    [
        form(field("model", b"openai/whisper-1"), FILE + SOUND),
        form(FILE + SOUND, field("model", b"openai/whisper-1")),
        form(FILE, field("model", b"openai/whisper-1")),
        form(field("language", b""), field("model", b"openai/whisper-1"), FILE + SOUND),
        b"preamble\r\n" + form(field("model", b"openai/whisper-1"), FILE + SOUND) + b"epilogue --" + BOUNDARY,
        form(b"content-disposition:form-data;name=model\r\n\r\nopenai/whisper-1", FILE + SOUND, end=b"--"),
        form(b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"\r\n\r\nopenai/whisper-1'),
    ],
)  # fmt: skip
def test_model_is_found_wherever_it_stands_and_however_it_is_cut(raw: bytes, size: int) -> None:
    assert read(raw, size) == {"model": "openai/whisper-1"}


@given(st.binary(max_size=200), st.integers(1, 50))
def test_file_of_any_bytes_hides_nothing(sound: bytes, size: int) -> None:
    if b"\r\n--" + BOUNDARY in b"\r\n" + sound + b"\r\n":
        return
    raw = form(FILE + sound, field("model", b"a/b"), field("stream", b"true"))
    assert read(raw, size) == {"model": "a/b", "stream": "true"}


def test_model_inside_the_file_is_no_field() -> None:
    inside = form(field("model", b"evil/model"), boundary=b"other")
    assert read(form(FILE + inside, field("model", b"a/b"))) == {"model": "a/b"}


def test_file_that_is_called_model_is_no_model() -> None:
    part = b'Content-Disposition: form-data; name="model"; filename="../../x"\r\n\r\nevil/model'
    assert read(form(part)) == {}


def test_long_value_is_passed_over() -> None:
    assert read(form(field("model", b"x" * 5000)), 100) == {}


@pytest.mark.parametrize("size", [1000, 16 * 1024, 1 << 20])
def test_only_what_follows_the_end_counts_as_behind_it(size: int) -> None:
    raw = form(field("model", b"openai/whisper-1"), FILE + bytes(100_000))
    assert read(raw + bytes(forms.HEAD_BYTES_MAX - 2), size) == {"model": "openai/whisper-1"}
    with pytest.raises(InvalidInput, match="behind its end"):
        read(raw + bytes(forms.HEAD_BYTES_MAX), size)


def test_file_is_not_kept() -> None:
    reader = Form(BOUNDARY)
    reader.feed(b"--" + BOUNDARY + b"\r\n" + FILE)
    tracemalloc.start()
    for _ in range(400):
        reader.feed(bytes(64 * 1024))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024 * 1024
    assert not reader.is_whole


DISPOSITION = b"Content-Disposition: form-data; "
# What one parser takes for another name than the next one does.
TRICKS = [
    DISPOSITION + b'x="; name=y"z; name="file_id"',
    DISPOSITION + b'x="\\"; name="y"; z="; name="file_id"',
    DISPOSITION + b'name="y"; name="file_id"',
    DISPOSITION + b"name=y; name*=utf-8''file_id",
    DISPOSITION + b'name="y"\r\nContent-Disposition: form-data; name="file_id"',
    DISPOSITION + b'name="y"\nContent-Disposition: form-data; name="file_id"',
    DISPOSITION + b'\r\n name="file_id"',
    b'Content-Disposition: attachment; name="y"',
    b"Content-Type: text/plain",
    DISPOSITION + b'filename="a"b.mp3"; name="y"',
]


@pytest.mark.parametrize(
    "written",
    [
        b'x="; name=y"; name="model"',
        b'name="model"; x="; name=y"',
        b"name=model",
        b'NAME="model";',
        b'x="C:\\a"; name="model"',
    ],
)
def test_name_is_read_as_it_is_written(written: bytes) -> None:
    assert read(form(DISPOSITION + written + b"\r\n\r\na/b")) == {"model": "a/b"}


@pytest.mark.parametrize(
    "written",
    [
        b'name="file"; filename="C:\\a.mp3"',
        b"name=file; filename=a.mp3; filename*=utf-8''a%20b.mp3",
        'name="file"; filename="\u6771; name=model.mp3"'.encode(),
        b'name="file"; filename=""',
    ],
)
def test_file_as_clients_write_it_passes(written: bytes) -> None:
    raw = form(field("model", b"a/b"), DISPOSITION + written + b"\r\n\r\n" + SOUND)
    assert read(raw) == {"model": "a/b"}


@pytest.mark.parametrize(
    "raw",
    [
        form(field("model", b"a/b"), field("model", b"c/d")),
        form(field("model", b"x" * 5000), field("model", b"c/d")),
        form(FILE.replace(b"file", b"model", 1) + SOUND, field("model", b"c/d")),
        *[form(head + b"\r\n\r\na/b") for head in TRICKS],
        form(*[field("x", b"1")] * 65),
        form(b"X: " + b"a" * 9000 + b"\r\n\r\nx"),
        b"--" + BOUNDARY + b"\r\nX: " + b"a" * 9000,
        form(field("model", b"a/b"), end=b"junk\r\n\r\n"),
        form(field("model", b"a/b"), end=b""),
        form(field("model", b"a/b"))[:-20],
        b"",
        b'{"model": "a/b"}',
    ],
)
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_form_that_two_parsers_may_read_otherwise_is_refused(raw: bytes, size: int) -> None:
    with pytest.raises(InvalidInput, match="form"):
        read(raw, size)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b:c"', b"a b:c"),
        ("multipart/form-data;boundary=----WebKitFormBoundaryx", BOUNDARY),
    ],
)
def test_boundary_is_read(content_type: str, expected: bytes) -> None:
    assert forms.boundary(content_type) == expected
    assert forms.is_form(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a", "application/json",
        "multipart/form-data; boundary=a; boundary=b", 'multipart/form-data; boundary="a\\"b"',
        "multipart/form-data; boundary=" + "a" * 71, "multipart/form-data; boundary=caf\xe9",
        'multipart/form-data; boundary="a "', "multipart/form-data; xboundary=a", 'multipart/form-data; boundary="a"b',
    ],
)  # fmt: skip
def test_boundary_that_is_none_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidInput, match="boundary"):
        forms.boundary(content_type)


@pytest.mark.parametrize("name", ["file_id", "file_ids", "container_id"])
def test_stored_file_in_the_place_of_a_file_is_refused(name: str) -> None:
    raw = form(field("model", b"openai/whisper-1"), field(name, b"file_011CN"), FILE + SOUND)
    with pytest.raises(InvalidInput, match=name):
        read(raw)
