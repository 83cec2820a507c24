"""Answers as models: typed, exact in money, and with whatever else the platform sent."""

from naive.types.accounts import (
    Agent,
    APIKey,
    Company,
    Credits,
    IssuedKey,
    LoggedIn,
    Me,
    NamedCompany,
    OwnKey,
    Person,
    Registered,
    Selected,
    Status,
)
from naive.types.audit import AuditActor, AuditEntry, AuditTarget
from naive.types.books import (
    Checkout,
    Entry,
    Group,
    Pack,
    Packs,
    Statement,
    StatementLine,
    Summary,
    Usage,
)
from naive.types.chat import (
    ChatChunk,
    ChatCompletion,
    ChatUsage,
    Choice,
    ChunkChoice,
    Correction,
    Delta,
    Estimate,
    FunctionCall,
    Generation,
    ListedModel,
    Message,
    ModelList,
    Refusal,
    ToolCall,
)
from naive.types.endpoints import Delivery, Event, IssuedWebhook, Webhook
from naive.types.model import Model, Money
from naive.types.tenants import (
    AccountKit,
    Assigned,
    Change,
    Deleted,
    EffectiveKit,
    IssuedSession,
    KitPreview,
    Limit,
    LLMRules,
    Primitive,
    Session,
    User,
)

__all__ = [
    "APIKey", "AccountKit", "Agent", "Assigned", "AuditActor", "AuditEntry", "AuditTarget", "Change", "ChatChunk",
    "ChatCompletion", "ChatUsage", "Checkout", "Choice", "ChunkChoice", "Company", "Correction", "Credits",
    "Deleted", "Delivery", "Delta", "EffectiveKit", "Entry", "Estimate", "Event", "FunctionCall", "Generation",
    "Group", "IssuedKey", "IssuedSession", "IssuedWebhook", "KitPreview", "LLMRules", "Limit", "ListedModel",
    "LoggedIn", "Me", "Message", "Model", "ModelList", "Money", "NamedCompany", "OwnKey", "Pack", "Packs", "Person",
    "Primitive", "Refusal", "Registered", "Selected", "Session", "Statement", "StatementLine", "Status", "Summary",
    "ToolCall", "Usage", "User", "Webhook",
]  # fmt: skip
