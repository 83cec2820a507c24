"""How embeddings, ranks, sound, pictures and films are read, and what each holds for."""

from decimal import Decimal
from typing import Any

import orjson
import pytest

from accounts.errors import InvalidInput
from llm import pricing
from llm.pricing import Bound, Price
from llm.shapes import media, table
from llm.shapes.request import Request

GOOD: dict[str, dict[str, Any]] = {
    "embeddings": {"model": "a/b", "input": "Hi"},
    "rerank": {"model": "a/b", "query": "q", "documents": ["one", "two"]},
    "images": {"model": "a/b", "prompt": "A fox"},
    "speech": {"model": "a/b", "input": "Hello", "voice": "alloy"},
    "transcriptions": {"model": "a/b", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    "videos": {"model": "a/b", "prompt": "A fox", "duration": 8},
}


def price(**listed: str) -> Price:
    found = pricing.read_price({"id": "a/b", "pricing": {"prompt": "0", "completion": "0", **listed}})
    assert found is not None
    return found


def read(shape: str, **changes: Any) -> Request:
    fields = {name: value for name, value in {**GOOD[shape], **changes}.items() if value is not ...}
    return table.SHAPES[shape].read(orjson.dumps(fields))


def bound(shape: str, *prices: Price | None, **changes: Any) -> Bound:
    return table.SHAPES[shape].bound(read(shape, **changes), prices)


@pytest.mark.parametrize("shape", GOOD)
def test_model_is_read_and_nothing_is_lowered(shape: str) -> None:
    assert read(shape).models == ("a/b",)
    assert table.SHAPES[shape].output_fields == ()
    assert not table.SHAPES[shape].can_grow


@pytest.mark.parametrize("shape", GOOD)
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": ...}, "model is missing"),
        ({"model": " a/b"}, "model"),
        ({"stream": "true"}, "stream"),
        ({"user": 5}, "user"),
        ({"provider": "x"}, "provider"),
    ],
)
def test_bad_field_is_named(shape: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        read(shape, **changes)


@pytest.mark.parametrize(
    ("shape", "changes", "field"),
    [
        ("embeddings", {"input": ...}, "input"),
        ("embeddings", {"input": []}, "input"),
        ("embeddings", {"input": ["x"] * 2049}, "input has 2049"),
        ("rerank", {"query": ""}, "query"),
        ("rerank", {"documents": []}, "documents"),
        ("rerank", {"documents": "x"}, "documents"),
        ("images", {"prompt": ...}, "prompt"),
        ("images", {"n": 11}, "n must"),
        ("images", {"n": 0}, "n must"),
        ("speech", {"input": ""}, "input"),
        ("transcriptions", {"input_audio": "UklGRg=="}, "input_audio"),
        ("transcriptions", {"input_audio": {"data": ""}}, "input_audio"),
        ("videos", {"duration": 0}, "duration"),
        ("videos", {"duration": 601}, "duration"),
        ("videos", {"callback_url": "https://evil.test"}, "callback_url"),
    ],
)
def test_bad_field_of_one_shape_is_named(shape: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        read(shape, **changes)


def test_only_pictures_and_transcripts_stream() -> None:
    streams = {shape for shape in GOOD if read(shape, stream=True).is_stream}
    assert streams == {"images", "transcriptions"}


def test_embedding_is_bound_by_its_bytes() -> None:
    found = bound("embeddings", price(prompt="0.00000002"), input=["x" * 1000] * 10)
    assert found.price_known
    assert found.cost_usd() == found.prompt_tokens * Decimal("0.00000002")
    assert 10_000 < found.prompt_tokens < 11_000
    assert found.output_tokens_for(Decimal(0)) == found.output_tokens == 0


def test_embedded_tokens_are_never_more_than_their_bytes() -> None:
    assert bound("embeddings", price(prompt="1"), input=[1] * 500).prompt_tokens >= 500


def test_embedded_pictures_count_and_other_media_have_no_bound() -> None:
    picture = {"content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}
    found = bound("embeddings", price(prompt="0.001", image="0.5"), input=[picture, picture])
    assert found.price_known
    assert found.fixed_usd >= 2 * pricing.TOKENS_PER_IMAGE * Decimal("0.001") + 1
    sound = {"content": [{"type": "input_audio", "input_audio": {}}]}
    assert not bound("embeddings", price(prompt="0.001"), input=[sound]).price_known


@pytest.mark.parametrize(("documents", "units"), [(2, 1), (99, 1), (101, 2), (950, 10)])
def test_rerank_is_bound_by_its_search_units(documents: int, units: int) -> None:
    found = bound("rerank", price(request="0.002"), documents=["x"] * documents)
    assert found.price_known
    # Long lists count a little higher: the bytes of the request stand for the length of its documents.
    assert units * Decimal("0.002") <= found.cost_usd() <= (units + 1) * Decimal("0.002")


def test_long_documents_count_as_several() -> None:
    assert bound("rerank", price(request="1"), documents=["x" * 50_000] * 10).cost_usd() >= 10


def test_rerank_by_tokens_counts_the_query_with_each_document() -> None:
    found = bound("rerank", price(prompt="0.000001"), query="q" * 1000, documents=["x"] * 100)
    assert found.cost_usd() >= Decimal("0.1")


def test_price_list_that_is_silent_is_no_promise() -> None:
    assert not bound("rerank", price()).price_known
    assert not bound("speech", price()).price_known
    assert bound("rerank", price(), model="a/b:free").price_known
    assert not bound("rerank", price(request="1"), documents=[{"image": "https://x"}]).price_known


def test_speech_is_bound_by_its_characters() -> None:
    found = bound("speech", price(prompt="0.000015"), input="ä" * 100)
    assert found.price_known
    assert found.cost_usd() >= 200 * Decimal("0.000015")
    assert not bound("speech", price(prompt="0.000015", audio_output="0.00002")).price_known
    assert not bound("speech", price(prompt="0.000015"), input_references=[]).price_known


@pytest.mark.parametrize("shape", ["images", "transcriptions", "videos"])
def test_what_the_request_does_not_tell_has_no_bound(shape: str) -> None:
    assert not bound(shape, price(prompt="1", request="1")).price_known


def test_pictures_and_films_hold_about_what_they_cost() -> None:
    by_tokens = bound("images", price(image_output="0.00004"), n=3)
    assert by_tokens.cost_usd() == 3 * media.TOKENS_PER_PICTURE * Decimal("0.00004")
    assert bound("images", price(image="0.05"), n=2).cost_usd() == Decimal("0.10")
    assert bound("videos", price(request="0.4")).cost_usd() == Decimal("3.2")
    assert bound("videos", price(request="0.4"), duration=...).cost_usd() == 4


@pytest.mark.parametrize("shape", GOOD)
def test_model_without_a_price_has_no_bound(shape: str) -> None:
    assert not bound(shape, None).price_known
    assert not bound(shape, price(prompt="1", request="1"), None).price_known


def test_job_holds_for_as_long_as_a_job_may_take() -> None:
    assert table.SHAPES["videos"].ttl_s == 24 * 3600
    assert {shape.ttl_s for shape in table.SHAPES.values() if shape.name != "videos"} == {None}


def cost_of(shape: str, *prices: Price | None, **changes: Any) -> Decimal:
    return bound(shape, *prices, **changes).cost_usd()


def test_picture_holds_what_the_list_says_of_one() -> None:
    one = cost_of("images", price(image_output="0.00004"))
    assert one == media.TOKENS_PER_PICTURE * Decimal("0.00004")
    assert cost_of("images", price(image_output="0.00004"), n=4) == 4 * one
    assert cost_of("images", price(image="0.04"), n=3) == Decimal("0.12")
    assert cost_of("images", price(image="0.04"), price(image="0.05"), None) == Decimal("0.05")


@pytest.mark.parametrize(
    ("skus", "usd"),
    [
        ({"duration_seconds": "0.4"}, "3.2"),
        ({"duration_seconds_720p": "0.03", "duration_seconds_with_audio_1080p": "0.06"}, "0.48"),
        ({"cents_per_second_output": "12"}, "0.96"),
        ({"per_video": "9", "duration_seconds": 0.05}, "0.4"),
        (None, "0"), ([], "0"), ({}, "0"),
    ],
)  # fmt: skip
def test_film_holds_for_its_length_at_the_dearest_second(skus: Any, usd: str) -> None:
    entry = {"id": "a/b", "pricing": {"prompt": "0", "completion": "0"}, "pricing_skus": skus}
    found = bound("videos", pricing.read_price(entry))
    assert found.cost_usd() == found.likely_usd(0) == Decimal(usd)
    assert not found.price_known


@pytest.mark.parametrize("second", ["much", "-1", "NaN", None])
def test_film_whose_second_is_no_price_has_none(second: str | None) -> None:
    entry = {"pricing": {"prompt": "0", "completion": "0"}, "pricing_skus": {"duration_seconds": second}}
    assert pricing.read_price(entry) is None


def test_recording_holds_for_about_its_length() -> None:
    data = "A" * 16_000_000  # Base64 of 12 MB, at most 50 minutes.
    sound = {"input_audio": {"data": data, "format": "mp3"}}
    assert Decimal("0.3") <= cost_of("transcriptions", price(request="0.0001"), **sound) < Decimal("0.31")
    by_tokens = cost_of("transcriptions", price(prompt="0.000001", completion="0.000005"), **sound)
    assert by_tokens >= 3000 * media.SOUND_TOKENS_PER_SECOND * Decimal("0.000006")
    assert cost_of("transcriptions", None, **sound) == 0
    assert cost_of("transcriptions", price()) == 0
