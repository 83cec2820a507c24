"""Who serves a model: names, whether a disconnect stops them, and how dear they are against the list."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider; `cancellable` says whether it stops, and stops billing, when the client leaves."""

    name: str
    slug: str
    cancellable: bool
    headquarters: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A provider's offer of one model: its price is the list price times `factor`."""

    provider: Provider
    factor: Decimal


# name, slug, cancellable (upstream.md 3.5), headquarters
_ROWS = """
AI21 ai21 0 IL
AionLabs aion-labs 0 US
Alibaba alibaba 0 CN
Amazon_Bedrock amazon-bedrock 0 US
Anthropic anthropic 1 US
Arcee_AI arcee-ai 0 US
AtlasCloud atlas-cloud 0 US
Azure azure 1 US
Baidu baidu 0 CN
Cerebras cerebras 0 US
Chutes chutes 1 US
Cloudflare cloudflare 1 US
Cohere cohere 1 CA
DeepInfra deepinfra 1 US
DeepSeek deepseek 1 CN
Featherless featherless 0 US
Fireworks fireworks 1 US
Friendli friendli 1 US
Google_AI_Studio google-ai-studio 0 US
Google_Vertex google-vertex 0 US
Groq groq 0 US
Hyperbolic hyperbolic 1 US
Inception inception 0 US
Infermatic infermatic 1 US
Inflection inflection 0 US
Liquid liquid 1 US
Mancer mancer 1 US
Minimax minimax 0 SG
Mistral mistral 0 FR
Modal modal 0 US
Moonshot_AI moonshotai 0 SG
Morph morph 0 US
NCompass ncompass 0 US
Nebius nebius 0 NL
Novita novita 1 US
Nvidia nvidia 0 US
OpenAI openai 1 US
OpenInference open-inference 0 US
Parasail parasail 0 US
Perplexity perplexity 0 US
Relace relace 0 US
SambaNova sambanova 0 US
SiliconFlow siliconflow 0 SG
StepFun stepfun 0 CN
Switchpoint switchpoint 0 US
Together together 1 US
Upstage upstage 0 KR
Venice venice 0 US
WandB wandb 0 US
xAI xai 1 US
Xiaomi xiaomi 0 CN
Z.AI z-ai 0 SG
"""


def _read() -> dict[str, Provider]:
    found = {}
    for line in _ROWS.split("\n"):
        if line:
            name, slug, cancellable, country = line.split()
            found[slug] = Provider(name.replace("_", " "), slug, cancellable == "1", country)
    return found


ALL = _read()
_OPEN_WEIGHTS = ("deepinfra", "novita", "together", "fireworks", "nebius", "groq")
_BY_AUTHOR = {
    "ai21": ("ai21",),
    "aion-labs": ("aion-labs",),
    "amazon": ("amazon-bedrock",),
    "anthropic": ("anthropic", "amazon-bedrock", "google-vertex"),
    "arcee-ai": ("arcee-ai", "together"),
    "baidu": ("baidu", "novita"),
    "cohere": ("cohere",),
    "deepseek": ("deepseek", *_OPEN_WEIGHTS),
    "google": ("google-ai-studio", "google-vertex"),
    "inception": ("inception",),
    "inflection": ("inflection",),
    "liquid": ("liquid",),
    "mancer": ("mancer",),
    "minimax": ("minimax", "novita", "fireworks"),
    "mistralai": ("mistral", "deepinfra", "together"),
    "moonshotai": ("moonshotai", "novita", "together", "groq"),
    "morph": ("morph",),
    "nvidia": ("deepinfra", "nvidia"),
    "openai": ("openai", "azure"),
    "perplexity": ("perplexity",),
    "qwen": ("alibaba", *_OPEN_WEIGHTS),
    "relace": ("relace",),
    "stepfun": ("stepfun",),
    "switchpoint": ("switchpoint",),
    "upstage": ("upstage",),
    "x-ai": ("xai",),
    "xiaomi": ("xiaomi",),
    "z-ai": ("z-ai", "deepinfra", "novita", "together"),
}
# The list shows the top provider's price; others may be several times dearer (upstream.md section 6).
_FACTORS = (Decimal(1), Decimal(1), Decimal("1.25"), Decimal(2), Decimal(3), Decimal(4), Decimal(4))


def endpoints(author: str, model: str) -> tuple[Endpoint, ...]:
    """Who serves a model, cheapest first."""
    slugs = _BY_AUTHOR.get(author.lstrip("~"), _OPEN_WEIGHTS)
    if "gpt-oss" in model or "gemma" in model:
        slugs = _OPEN_WEIGHTS
    return tuple(Endpoint(ALL[slug], factor) for slug, factor in zip(slugs, _FACTORS, strict=False))


def named(name: str) -> Provider:
    """A provider by name or slug; an unknown name becomes one that cannot be cancelled."""
    wanted = name.lower()
    for provider in ALL.values():
        if wanted in {provider.slug, provider.name.lower()}:
            return provider
    return Provider(name, wanted.replace(" ", "-"), cancellable=False, headquarters="US")


def listing() -> list[dict[str, object]]:
    """The rows of GET /providers."""
    return [
        {
            "name": provider.name,
            "slug": provider.slug,
            "privacy_policy_url": f"https://{provider.slug}.example/privacy",
            "terms_of_service_url": f"https://{provider.slug}.example/terms",
            "status_page_url": f"https://status.{provider.slug}.example",
            "headquarters": provider.headquarters,
            "datacenters": [provider.headquarters],
        }
        for provider in ALL.values()
    ]
