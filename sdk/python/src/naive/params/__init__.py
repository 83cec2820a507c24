"""Parameters of calls as TypedDicts: what type checkers and editors know of each keyword."""

from naive.options import Options
from naive.params.chat import (
    AssistantMessage,
    ChatParams,
    Message,
    ModelsParams,
    ProviderRouting,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from naive.params.companies import (
    AuditExportParams,
    AuditParams,
    DeliveriesParams,
    KeyChanges,
    KeyParams,
    KeysParams,
    LedgerParams,
    LoginParams,
    PageParams,
    RegisterParams,
    StatementParams,
    UsageParams,
    UserUsageParams,
    WebhookChanges,
    WebhookParams,
)
from naive.params.tenants import (
    ConnectionsConfig,
    KitChanges,
    KitDeletion,
    KitParams,
    KitPreviewParams,
    KitsParams,
    LLMConfig,
    LLMDefaults,
    UserChanges,
    UserParams,
    UsersParams,
)

__all__ = [
    "AssistantMessage", "AuditExportParams", "AuditParams", "ChatParams", "ConnectionsConfig", "DeliveriesParams",
    "KeyChanges", "KeyParams", "KeysParams", "KitChanges", "KitDeletion", "KitParams", "KitPreviewParams",
    "KitsParams", "LLMConfig", "LLMDefaults", "LedgerParams", "LoginParams", "Message", "ModelsParams", "Options",
    "PageParams", "ProviderRouting", "RegisterParams", "StatementParams", "SystemMessage", "ToolMessage",
    "UsageParams", "UserChanges", "UserMessage", "UserParams", "UserUsageParams", "UsersParams", "WebhookChanges",
    "WebhookParams",
]  # fmt: skip
