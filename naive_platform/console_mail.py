"""Letters for a developer's eyes (EMAIL_URL=console:): as they read, with links that stay in one piece."""

from typing import Any

from django.core.mail.backends import console


class EmailBackend(console.EmailBackend):
    def write_message(self, message: Any) -> None:
        """Not as it would travel: that breaks lines, and with them the links."""
        self.stream.write(
            f"To: {', '.join(message.recipients())}\nSubject: {message.subject}\n\n{message.body}\n"
        )
        self.stream.write("-" * 79 + "\n")
