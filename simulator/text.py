"""The words of an answer: plain prose about the prompt, the same for the same request, and its tokens."""

import re
import zlib

# Every character of a text belongs to exactly one match, so pieces joined are the text again.
_PIECE = re.compile(r"\s?\w{1,8}|\s?[^\w\s]|\s+")
_WORD = re.compile(r"[^\W\d_][\w'-]*")
_ECHO = re.compile(
    r"^(?:please\s+)?(?:just\s+|only\s+)?(?:say|repeat|echo|reply with|respond with|answer with)"
    r"(?:\s+(?:only|exactly|just))?(?:\s+the\s+words?)?\s*:?\s+[\"'`]?(.{1,200}?)[\"'`]?[.!]?$",
    re.IGNORECASE | re.DOTALL,
)
_COUNT = re.compile(r"\bcount(?:\s+from\s+(?:1|one))?\s+(?:up\s+)?to\s+(\d{1,4})\b", re.IGNORECASE)
_WORDS_WANTED = re.compile(r"\b(\d{2,4})[\s-]+words?\b", re.IGNORECASE)
_GREETING = re.compile(
    r"^(?:hi|hello|hey|good (?:morning|evening|day)|hiya)\b[\s\w,]{0,12}[!.?]*$", re.IGNORECASE
)
_LEAD = re.compile(
    r"^(?:please\s+|can you\s+|could you\s+|would you\s+)*"
    r"(?:tell me(?: more)? about|explain(?: to me)?|describe|"
    r"what(?:'s| is| are| was| were)|who (?:is|was)|how (?:do|does|did|can|to)|why (?:is|are|do|does)|"
    r"write(?: me)?|give me|summari[sz]e|list|compare|discuss|define)\s+",
    re.IGNORECASE,
)
# Long words that say nothing about the subject of a prompt.
_DULL = frozenset(
    _WORD.findall(
        """about after again also answer because been being brief could describe does each every
        explain from give have haiku hello help here into just like made make many more most
        much must need only other over paragraph please poem question reply sentence short
        should show some someone something still story such tell than that their them then there
        these they thing this those three through very want well were what when where which
        while with word words work would write your"""
    )
)
PARAGRAPH_SENTENCES = 4
CHARACTERS_PER_TOKEN = 4
PROSE_TOKENS = 70  # About what a chat answer to a short question has.

_OPENERS = (
    "Here is a short way to look at {subject}.",
    "Let us take {subject} one step at a time.",
    "There is a simple way to think about {subject}.",
    "The honest answer about {subject} begins with what can be seen.",
    "People have thought about {subject} for a long time, and a few ideas have lasted.",
    "It helps to say first what {subject} is not.",
)
_SENTENCES = (
    "Start with {key}, because everything else leans on it.",
    "Most people notice {key} first and only later ask what lies behind it.",
    "A small example helps: change one thing, leave the rest alone, and watch what happens.",
    "Once you have a feel for {key}, the other parts fall into place almost by themselves.",
    "The usual mistake is to treat {key} as a detail and to find out late that it was not.",
    "In practice two or three habits make the difference, and none of them is difficult.",
    "What looks like an exception is often the same rule seen from the other side.",
    "It is worth writing the numbers down, since memory is kinder than arithmetic.",
    "There is a cost to every choice here, and it is better to know it before than after.",
    "Compare {key} with what you already know, and keep the difference in mind.",
    "The details change from place to place, but the order of the steps does not.",
    "A good test is whether you could explain {key} to a patient friend in two minutes.",
    "Nothing in this depends on luck, although luck will take some of the credit.",
    "If one part has to wait, let it be the part that is easiest to undo.",
    "Careful people check {key} twice, once before they begin and once when they think they are done.",
    "The reason is plain: what is measured gets better, and what is hidden gets worse.",
    "After a while you hardly notice {key} any more, and that is a good sign.",
    "None of this is new, yet it is easy to forget on a busy day.",
)
_CLOSERS = (
    "If you remember one thing, let it be {key}.",
    "With that in place, there is far less mystery about {key}.",
    "From here, the best next step is a small one.",
    "Ask again with more detail about {key} and I can be more exact.",
)
_HAIKU = {
    "sea": ("Waves fold into foam,", "the gulls argue with the wind,", "salt dries on the rope."),
    "code": ("One test fails at dusk,", "a small fix, a quiet hum,", "the green lights return."),
    "moon": ("Moon above the roofs,", "the cat on the garden wall", "keeps one eye open."),
    "autumn": ("Leaves let go at last,", "the path gold under my feet,", "rain taps on the gate."),
    "winter": ("Snow on the mailbox,", "my own footprints lead the way", "back to the warm door."),
    "spring": ("Thin ice gives way now,", "a bud opens on the branch,", "bees find it by noon."),
}
_UNICODE = "Naïve café, 東京の朝, Ζωή, Привет: 🌊🚀 déjà vu — “fin”. "


def pieces(text: str) -> list[str]:
    """A text as its tokens; joined, they are the text again."""
    return _PIECE.findall(text)


def tokens_in(text: str) -> int:
    """How many tokens a prompt counts as: about four characters each."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def seed_of(text: str) -> int:
    return zlib.crc32(text.encode(errors="replace"))


def keywords(prompt: str) -> list[str]:
    """The words of a prompt that it seems to be about, in order of appearance."""
    found = [word for word in _WORD.findall(prompt[:2000]) if len(word) > 3 and word.lower() not in _DULL]
    return list(dict.fromkeys(found))[:6]


def subject_of(prompt: str) -> str:
    """What a prompt asks about, in at most eight words."""
    first = re.split(r"[.?!\n]", prompt.strip()[:400], maxsplit=1)[0]
    words = _LEAD.sub("", first.strip()).split()[:8]
    return " ".join(words)[:60].strip(" ,;:\"'") or "the question"


def _haiku(prompt: str, seed: int) -> str:
    lowered = prompt.lower()
    for theme, lines in _HAIKU.items():
        if theme in lowered:
            return "\n".join(lines)
    return "\n".join(list(_HAIKU.values())[seed % len(_HAIKU)])


def _prose(prompt: str, seed: int, wanted_tokens: int) -> str:
    """Sentences about the prompt until there are about as many tokens as wanted."""
    keys = keywords(prompt) or ["the first step"]
    fields = {"subject": subject_of(prompt), "key": keys[0]}
    parts = [_OPENERS[seed % len(_OPENERS)].format(**fields)]
    characters, number, stride = len(parts[0]), 0, 1 + seed % 5
    while characters < wanted_tokens * CHARACTERS_PER_TOKEN:
        fields["key"] = keys[number % len(keys)]
        sentence = _SENTENCES[(seed + number * stride + number // len(_SENTENCES)) % len(_SENTENCES)]
        number += 1
        glue = "\n\n" if number % PARAGRAPH_SENTENCES == 0 else " "
        parts.append(glue + sentence.format(**fields))
        characters += len(parts[-1])
    fields["key"] = keys[-1]
    parts.append(" " + _CLOSERS[seed % len(_CLOSERS)].format(**fields))
    return "".join(parts)


def _special(prompt: str, seed: int) -> str | None:
    """Answers to prompts that ask for something short and plain."""
    if len(prompt) > 400:
        return None
    if "haiku" in prompt.lower():
        return _haiku(prompt, seed)
    echo = _ECHO.match(prompt.strip())
    if echo:
        return echo[1]
    count = _COUNT.search(prompt)
    if count:
        return ", ".join(str(number) for number in range(1, int(count[1]) + 1))
    if _GREETING.match(prompt.strip()):
        return "Hello! How can I help you today?"
    return None


def answer(prompt: str, *, unicode: bool = False, exact_tokens: int | None = None) -> list[str]:
    """The tokens of an answer; `exact_tokens` asks for prose of just that length."""
    seed = seed_of(prompt)
    if exact_tokens is not None:
        found = pieces((_UNICODE if unicode else "") + _prose(prompt, seed, exact_tokens))
        while len(found) < exact_tokens:
            found += found[: exact_tokens - len(found)]
        return found[:exact_tokens]
    words = _WORDS_WANTED.search(prompt[:400])
    wanted = int(words[1]) * 6 // 5 if words else PROSE_TOKENS + seed % 40
    said = _special(prompt, seed) or _prose(prompt, seed, wanted)
    return pieces(_UNICODE + said if unicode else said)


def thoughts(prompt: str) -> list[str]:
    """The tokens of the reasoning that goes before an answer."""
    keys = ", ".join(keywords(prompt)) or "nothing in particular"
    said = (
        f"The user asks about {subject_of(prompt)}. The words that matter are {keys}. "
        "I should begin with the plain facts, give one example and stop before it gets long."
    )
    return pieces(said)
