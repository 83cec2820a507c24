"""`manage.py person confirm|remove-factors ADDRESS`: what only an operator can do for somebody who signs in."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.audit import Actor
from accounts.errors import DomainError
from accounts.models import AuditEntry, User
from naive_platform import onboarding, operator_commands
from naive_platform.signing_in import second_factors


class Command(BaseCommand):
    help = (
        "Confirm a person's e-mail address, which gives their company its opening grant; or take the second factors "
        "from somebody who has lost them, so that the password alone signs them in."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deed", choices=["confirm", "remove-factors"])
        parser.add_argument("address", help="whom: the e-mail address they sign in with")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        person = User.objects.with_email(options["address"]).first()
        if person is None:
            raise CommandError(f"Nobody signs in as {options['address']}.")
        try:
            with audit.acting(Actor(kind=AuditEntry.Actor.OPERATOR, label=operator_commands.login())):
                self._do(options["deed"], person)
        except DomainError as exc:
            raise CommandError(exc.message) from exc

    def _do(self, deed: str, person: User) -> None:
        if deed == "confirm":
            onboarding.confirm_address(user_id=person.id, email=person.email, now=timezone.now())
            self.stdout.write(f"{person.email} is confirmed.")
            return
        count = second_factors.remove_all(user_id=person.id)
        self.stdout.write(f"{person.email} has no second factor now ({count} removed).")
