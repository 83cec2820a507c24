"""POST /embeddings and /rerank."""

import base64
import struct
from typing import Any

from tests.simulator.process import Simulator, decoded

EMBEDDER = "openai/text-embedding-3-small"


def test_vectors_and_their_cost(sim: Simulator, key: str) -> None:
    answer = sim.post("/embeddings", key, {"model": EMBEDDER, "input": ["a cat", "a dog", "a cat"]})
    body = decoded(answer.text)
    vectors = [row["embedding"] for row in body["data"]]
    assert [row["index"] for row in body["data"]] == [0, 1, 2]
    assert len(vectors[0]) == 1536
    assert vectors[0] == vectors[2] != vectors[1]
    assert 0.9 < sum(float(value) ** 2 for value in vectors[0]) < 1.1
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == 6
    assert body["usage"]["cost"] == sim.spent(key) > 0


def test_packed_vectors_are_the_same(sim: Simulator, key: str) -> None:
    asked: dict[str, Any] = {"model": EMBEDDER, "input": "a cat", "dimensions": 8}
    plain = sim.post("/embeddings", key, asked).json()["data"][0]["embedding"]
    packed = sim.post("/embeddings", key, {**asked, "encoding_format": "base64"}).json()["data"][0][
        "embedding"
    ]
    values = struct.unpack("<8f", base64.b64decode(packed))
    assert all(abs(value - exact) < 1e-6 for value, exact in zip(values, plain, strict=True))


def test_token_ids_are_counted(sim: Simulator, key: str) -> None:
    body = sim.post(
        "/embeddings", key, {"model": EMBEDDER, "input": [[1, 2, 3], [4]], "dimensions": 2}
    ).json()
    assert body["usage"]["prompt_tokens"] == 4


def test_bad_inputs_are_refused(sim: Simulator, key: str) -> None:
    for asked in ({"model": EMBEDDER}, {"model": EMBEDDER, "input": []}, {"input": "x"}):
        assert sim.post("/embeddings", key, asked).status_code == 400
    assert sim.post("/embeddings", key, {"model": "openai/gpt-4o", "input": "x"}).status_code == 400


def test_rerank_puts_the_likely_document_first(sim: Simulator, key: str) -> None:
    asked = {
        "model": "cohere/rerank-v3.5",
        "query": "capital of France",
        "documents": ["Berlin is in Germany.", "Paris is the capital of France."],
        "top_n": 1,
    }
    body = decoded(sim.post("/rerank", key, asked).text)
    assert [row["index"] for row in body["results"]] == [1]
    assert body["usage"]["search_units"] == 1
    assert body["usage"]["cost"] == sim.spent(key) > 0
