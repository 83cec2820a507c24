"""GET /models and its relatives, /key, /credits, /providers, and what nobody serves."""

from decimal import Decimal

import pytest

from tests.simulator.process import MODEL, Simulator

# upstream.md section 6: id, prompt, completion, cache read, cache write, context.
CATALOGUE = """
openai/gpt-4o-mini 0.00000015 0.0000006 0.000000075 - 128000
openai/gpt-5-mini 0.00000025 0.000002 0.000000025 - 400000
google/gemini-2.5-flash 0.0000003 0.0000025 0.000000075 0.0000003833 1048576
anthropic/claude-haiku-4.5 0.000001 0.000005 0.0000001 0.00000125 200000
anthropic/claude-sonnet-4.5 0.000003 0.000015 0.0000003 0.00000375 1000000
anthropic/claude-sonnet-4.6 0.000003 0.000015 0.0000003 0.00000375 1000000
anthropic/claude-sonnet-5 0.000002 0.00001 0.0000002 0.0000025 1000000
anthropic/claude-opus-4.8 0.000005 0.000025 0.0000005 0.00000625 1000000
z-ai/glm-5.2 0.00000056 0.00000176 0.000000104 - 1048576
minimax/minimax-m3 0.0000003 0.0000012 0.00000006 - 1048576
xiaomi/mimo-v2.5 0.000000105 0.00000028 0.000000028 - 1048576
deepseek/deepseek-v4-flash 0.0000000983 0.0000001966 0.0000000197 - -
openai/gpt-oss-20b 0.000000029 0.00000014 - - 131072
openai/gpt-oss-120b:free 0 0 - - 131072
openrouter/auto -1 -1 - - 2000000
openrouter/free 0 0 - - 200000
"""
FIELDS = """id canonical_slug hugging_face_id name created description context_length architecture pricing
top_provider per_request_limits supported_parameters default_parameters supported_voices knowledge_cutoff
expiration_date links"""


def test_list_has_hundreds_of_whole_models(sim: Simulator) -> None:
    body = sim.get("/models").json()
    assert len(body["data"]) == body["total_count"] >= 300
    assert len({model["id"] for model in body["data"]}) == body["total_count"]
    assert body["links"] == {"next": None}
    for model in body["data"]:
        assert set(FIELDS.split()) <= set(model)
        assert all(isinstance(price, str) for name, price in model["pricing"].items() if name != "overrides")
        assert "e" not in model["pricing"]["prompt"].lower()


@pytest.mark.parametrize("row", CATALOGUE.split("\n")[1:-1], ids=lambda row: row.partition(" ")[0])
def test_known_prices(sim: Simulator, row: str) -> None:
    name, prompt, completion, cache_read, cache_write, context = row.split()
    model = sim.get(f"/model/{name}").json()["data"]
    prices = model["pricing"]
    assert (prices["prompt"], prices["completion"]) == (prompt, completion)
    assert prices.get("input_cache_read", "-") == cache_read
    assert prices.get("input_cache_write", "-") == cache_write
    assert context in {"-", str(model["context_length"])}


def test_prices_by_length_and_slugs(sim: Simulator) -> None:
    sonnet = sim.get("/model/anthropic/claude-sonnet-4.5").json()["data"]
    assert sonnet["pricing"]["overrides"] == [
        {
            "min_prompt_tokens": 200000,
            "prompt": "0.000006",
            "completion": "0.0000225",
            "input_cache_read": "0.0000006",
            "input_cache_write": "0.0000075",
        }
    ]
    opus = sim.get("/model/anthropic/claude-opus-4.8").json()["data"]
    assert opus["canonical_slug"] == "anthropic/claude-4.8-opus-20260528"
    assert opus["pricing"]["input_cache_write_1h"] == "0.00001"
    assert sim.get("/model/anthropic/claude-4.8-opus-20260528").json()["data"]["id"] == opus["id"]


def test_pages_and_filters(sim: Simulator) -> None:
    total = sim.get("/models").json()["total_count"]
    page = sim.get("/models", offset="10", limit="5").json()
    assert len(page["data"]) == 5
    assert page["links"]["next"] == "/api/v1/models?offset=15&limit=5"
    assert sim.get("/models", offset=str(total - 1), limit="5").json()["links"]["next"] is None
    assert sim.get("/models", limit="0").status_code == 400
    found = sim.get("/models", q="haiku").json()["data"]
    assert found
    assert all("haiku" in model["id"] for model in found)
    tools = sim.get("/models", supported_parameters="tools,reasoning").json()["data"]
    assert 0 < len(tools) < total
    assert all({"tools", "reasoning"} <= set(model["supported_parameters"]) for model in tools)
    cheap = sim.get("/models", max_price="0.1", sort="pricing-high-to-low").json()["data"]
    prices = [Decimal(model["pricing"]["prompt"]) for model in cheap]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] <= Decimal("0.0000001")
    assert sim.get("/models/count").json()["data"]["count"] == total


def test_embeddings_are_listed_apart(sim: Simulator) -> None:
    names = {model["id"] for model in sim.get("/embeddings/models").json()["data"]}
    assert "openai/text-embedding-3-small" in names
    assert names.isdisjoint(model["id"] for model in sim.get("/models").json()["data"])
    assert sim.get("/models", output_modalities="all").json()["total_count"] > 400


def test_endpoints_list_providers_and_dearer_prices(sim: Simulator) -> None:
    data = sim.get("/models/openai/gpt-oss-20b/endpoints").json()["data"]
    prices = [Decimal(endpoint["pricing"]["prompt"]) for endpoint in data["endpoints"]]
    assert data["id"] == "openai/gpt-oss-20b"
    assert prices[0] == Decimal("0.000000029")
    assert max(prices) >= 3 * prices[0]
    assert sim.get("/models/no/such/endpoints").status_code == 404


def test_image_models_list_endpoints_of_their_own_shape(sim: Simulator) -> None:
    told = sim.get("/images/models/openai/gpt-5-image/endpoints").json()
    assert told["id"] == "openai/gpt-5-image"
    assert told["endpoints"][0]["pricing"] == [
        {"billable": "output_image", "unit": "token", "cost_usd": 0.00004}
    ]
    assert sim.get("/images/models/openai/gpt-4o-mini/endpoints").status_code == 404


def test_endpoints_that_keep_nothing_are_listed(sim: Simulator) -> None:
    rows = sim.get("/endpoints/zdr").json()["data"]
    names = {row["provider_name"] for row in rows}
    assert {"Azure", "Groq"} <= names
    assert "OpenAI" not in names
    offered = sim.get("/models/openai/gpt-4o-mini/endpoints").json()["data"]["endpoints"]
    assert [row for row in rows if row["model_id"] == "openai/gpt-4o-mini"] == [
        offer for offer in offered if offer["provider_name"] in names
    ]


def test_dear_endpoint_bills_its_own_price(sim: Simulator, key: str) -> None:
    cheap = sim.chat(key, model="openai/gpt-oss-20b").json()["usage"]["cost"]
    dear = sim.chat(key, model="openai/gpt-oss-20b", provider={"order": ["groq"]}).json()
    assert dear["provider"] == "Groq"
    assert dear["usage"]["cost"] == pytest.approx(4 * cheap)


def test_providers(sim: Simulator) -> None:
    rows = sim.get("/providers").json()["data"]
    assert {"OpenAI", "Anthropic", "Groq", "Google AI Studio"} <= {row["name"] for row in rows}
    assert "privacy_policy_url" in rows[0]


def test_key_shows_what_it_spent(sim: Simulator, key: str) -> None:
    sim.chat(key)
    data = sim.get("/key", key).json()["data"]
    assert Decimal(str(data["usage"])) == sim.spent(key)
    assert data == sim.get("/auth/key", key).json()["data"]
    assert key not in str(data)


def test_credits_are_for_management_keys(sim: Simulator, key: str) -> None:
    assert sim.get("/credits", key).status_code == 403
    assert sim.get("/credits", "sk-or-v1-mgmt").json()["data"]["total_credits"] > 0


def test_keys_that_are_refused(sim: Simulator) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    missing = sim.client.post(f"{sim.url}/chat/completions", json=body)
    assert (missing.status_code, missing.json()["error"]["message"]) == (
        401,
        "No cookie auth credentials found",
    )
    for bad in ("sk-or-v1-bad1", "nv_sk_live_x"):
        assert sim.chat(bad).json() == {"error": {"message": "User not found.", "code": 401}}
    broke = sim.chat("sk-or-v1-broke1", max_tokens=500)
    assert broke.status_code == 402
    assert "You requested up to 500 tokens" in broke.json()["error"]["message"]
    capped = sim.chat("sk-or-v1-capped1")
    assert (capped.status_code, capped.json()["error"]["message"][:18]) == (403, "Key limit exceeded")


def test_unknown_paths_methods_and_models(sim: Simulator, key: str) -> None:
    assert sim.get("/nothing").status_code == 404
    assert sim.get("/nothing").json()["error"]["code"] == 404
    assert sim.get("/chat/completions").status_code == 405
    refused = sim.post("/models", key, {})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    unknown = sim.chat(key, model="no/such")
    assert unknown.json()["error"] == {"message": "no/such is not a valid model ID", "code": 400}
    free = sim.chat(key, model="openai/gpt-4o:free")
    assert free.json()["error"] == {"message": "No endpoints found for openai/gpt-4o:free.", "code": 404}


BAD_BODIES: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b'{"model":"openai/gpt-4o"}',
    b'{"messages":[]}',
    b'{"messages":[{"role":"pirate","content":"x"}]}',
    b'{"messages":"x"}',
    b'{"messages":[{"role":"user","content":"x"}],"temperature":NaN}',
    b'{"messages":[{"role":"user","content":"x"}],"temperature":3}',
    b'{"messages":[{"role":"user","content":"x"}],"max_tokens":0}',
    b'{"messages":[{"role":"user","content":"x"}],"stream":"yes"}',
    b'{"messages":[{"role":"user","content":"x"}],"model":7}',
    b'{"messages":[{"role":"user","content":"x"}],"stop":["1","2","3","4","5"]}',
    b'{"messages":[{"role":"user","content":"x"}],"model":"openai/text-embedding-3-small"}',
    b'{"messages":[{"role":"user","content":"x"}],"model":"openai/gpt-4","max_tokens":9000}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=[str(number) for number in range(len(BAD_BODIES))])
def test_bad_bodies_get_a_400_and_cost_nothing(sim: Simulator, key: str, body: bytes) -> None:
    answer = sim.post("/chat/completions", key, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)
    assert sim.calls(key) == 0
