"""What the demo's calls ask for: models of upstream's catalogue at its prices, and how long each takes."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Model:
    """Units: USD per million tokens; milliseconds to the first token, and per token after it."""

    id: str
    provider: str
    prompt_usd: Decimal
    completion_usd: Decimal
    first_token_ms: int
    token_ms: int

    def cost_usd(self, *, prompt: int, completion: int) -> Decimal:
        """What a call costs upstream, exact."""
        return (prompt * self.prompt_usd + completion * self.completion_usd) / 1_000_000


FLASH = Model("google/gemini-2.5-flash", "Google", Decimal("0.3"), Decimal("2.5"), 420, 5)
PRO = Model("google/gemini-2.5-pro", "Google AI Studio", Decimal("1.25"), Decimal(10), 1900, 9)
GPT_5 = Model("openai/gpt-5", "OpenAI", Decimal("1.25"), Decimal(10), 1500, 12)
GPT_5_MINI = Model("openai/gpt-5-mini", "OpenAI", Decimal("0.25"), Decimal(2), 700, 7)
SONNET = Model("anthropic/claude-sonnet-4.6", "Anthropic", Decimal(3), Decimal(15), 1100, 15)
HAIKU = Model("anthropic/claude-haiku-4.5", "Anthropic", Decimal(1), Decimal(5), 560, 8)
OPUS = Model("anthropic/claude-opus-4.8", "Anthropic", Decimal(5), Decimal(25), 1700, 20)
DEEPSEEK = Model("deepseek/deepseek-chat-v3.1", "DeepSeek", Decimal("0.15"), Decimal("0.75"), 980, 18)
LLAMA = Model("meta-llama/llama-3.3-70b-instruct", "Groq", Decimal("0.1"), Decimal("0.32"), 260, 4)
QWEN = Model("qwen/qwen3-235b-a22b-2507", "Together", Decimal("0.071"), Decimal("0.1"), 640, 11)

# How often each is asked, by kit: the first the most.
BY_KIT: dict[str, tuple[tuple[Model, int], ...]] = {
    "Default": ((GPT_5_MINI, 40), (HAIKU, 22), (FLASH, 16), (DEEPSEEK, 12), (LLAMA, 6), (QWEN, 4)),
    "Free": ((FLASH, 1),),
    "Pro": ((SONNET, 42), (GPT_5, 24), (PRO, 14), (HAIKU, 12), (OPUS, 8)),
}
ALL = (GPT_5_MINI, SONNET, FLASH, HAIKU, GPT_5, DEEPSEEK, PRO, LLAMA, OPUS, QWEN)
