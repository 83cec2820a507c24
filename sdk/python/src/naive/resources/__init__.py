"""The platform's nouns, each with its routes."""

from naive.resources.account_kits import AccountKits
from naive.resources.audit import Audit
from naive.resources.auth import Auth
from naive.resources.billing import Billing
from naive.resources.keys import Keys
from naive.resources.llm import LLM
from naive.resources.scoped import ForUser
from naive.resources.users import Sessions, Users
from naive.resources.webhooks import Webhooks

__all__ = [
    "LLM",
    "AccountKits",
    "Audit",
    "Auth",
    "Billing",
    "ForUser",
    "Keys",
    "Sessions",
    "Users",
    "Webhooks",
]
