"""A platform for your own tests: in this process, without a network, and it says what you tell it to.

platform = FakePlatform()
platform.reply("Bonjour")
assert greet(platform.client()) == "Bonjour"
assert platform.requests[-1].json["model"] == "openai/gpt-5.2"
"""

from naive.testing.platform import FakePlatform, Seen

__all__ = ["FakePlatform", "Seen"]
