"""What the routes of account kits read and answer."""

from rest_framework import serializers

from accounts.kits import DESCRIPTION_LENGTH_MAX, PROMPT_RETENTION_DAYS_MAX
from naive_platform.api import kit_schemas, shapes

ASSIGNED_MAX = 1_000
# `ext:` and an external id.
USER_NAME_LENGTH_MAX = 260
COUNT_MAX = 2**53
SOURCES = ("account_kit", "platform", "none")


class KitBody(shapes.Body):
    name = shapes.Text()
    description = shapes.Text(max_length=DESCRIPTION_LENGTH_MAX, allow_blank=True, required=False)
    is_default = shapes.Truth(required=False, help_text="It takes the place of the default before it.")
    primitives_config = shapes.Object(
        schema=kit_schemas.PRIMITIVES, required=False, help_text="By primitive: `{enabled, defaults, …}`."
    )
    connections_config = shapes.Object(
        schema=kit_schemas.CONNECTIONS, required=False, help_text="`{mode: open|allowlist|blocklist, …}`."
    )
    prompt_retention_days = shapes.Whole(
        min_value=1,
        max_value=PROMPT_RETENTION_DAYS_MAX,
        required=False,
        allow_null=True,
        help_text="Store the prompts and answers of its users' calls for so many days; null, the default: not at all.",
    )


class KitChanges(KitBody):
    name = shapes.Text(required=False)
    is_default = shapes.Truth(
        required=False, help_text="A company has a default always: make another kit the default instead."
    )
    primitives_config = shapes.Object(
        schema=kit_schemas.PRIMITIVE_CHANGES,
        required=False,
        help_text="Merged into what is there, by primitive and field; null removes.",
    )


class KitsQuery(shapes.Page):
    search = shapes.Text(default=None, help_text="What the name begins with, whatever the case.")


class KitShape(shapes.Answer):
    """An account kit; `etag` goes into If-Match, so that a change is made to what was read or not at all."""

    id = shapes.Id()
    name = shapes.Text()
    description = shapes.Text(allow_blank=True)
    is_default = shapes.Truth()
    primitives_config = shapes.Object()
    connections_config = shapes.Object()
    prompt_retention_days = shapes.Whole(
        min_value=1,
        max_value=PROMPT_RETENTION_DAYS_MAX,
        allow_null=True,
        help_text="For how long prompts and answers are stored; null: not at all.",
    )
    etag = shapes.Text()
    created_at = shapes.Instant()


class KitRowShape(KitShape):
    users = shapes.Whole(min_value=0, max_value=COUNT_MAX, help_text="How many tenant users have it.")


class KitsShape(shapes.Answer):
    account_kits = KitRowShape(many=True)
    next_cursor = shapes.Text(allow_null=True)


class AssignBody(shapes.Body):
    """Exactly one of the three says whom."""

    json_rules = {
        "oneOf": [
            {"required": ["user_ids"]},
            {"required": ["from_kit_id"]},
            {"required": ["all"], "properties": {"all": {"type": "boolean", "const": True}}},
        ]
    }
    user_ids = serializers.ListField(
        child=shapes.Text(max_length=USER_NAME_LENGTH_MAX),
        min_length=1,
        max_length=ASSIGNED_MAX,
        required=False,
        help_text="Ids, or `ext:<external_id>`.",
    )
    from_kit_id = shapes.Id(required=False, help_text="Everybody who has this kit.")
    all = shapes.Truth(required=False, help_text="true: everybody.")


class AssignedShape(shapes.Answer):
    account_kit_id = shapes.Id()
    assigned = shapes.Whole(min_value=0, max_value=COUNT_MAX, help_text="Users who had another kit before.")
    unchanged = shapes.Whole(min_value=0, max_value=COUNT_MAX, help_text="Users who had this one already.")


class PreviewBody(shapes.Body):
    """As in a PATCH of the kit."""

    primitives_config = shapes.Object(schema=kit_schemas.PRIMITIVE_CHANGES, required=False)
    connections_config = shapes.Object(schema=kit_schemas.CONNECTIONS, required=False)


class ChangeShape(shapes.Answer):
    """One value that would differ; null where there is none."""

    path = shapes.Text()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class NamesShape(shapes.Answer):
    """How many models, and the first 50 of them."""

    count = shapes.Whole(min_value=0, max_value=COUNT_MAX)
    names = serializers.ListField(child=shapes.Text())


class ModelChangesShape(shapes.Answer):
    """Of the models in the catalogue: how many may be called before and after, and which change sides."""

    known = shapes.Whole(min_value=0, max_value=COUNT_MAX)
    allowed_before = shapes.Whole(min_value=0, max_value=COUNT_MAX)
    allowed_after = shapes.Whole(min_value=0, max_value=COUNT_MAX)
    allowed = NamesShape()
    denied = NamesShape()


class PreviewShape(shapes.Answer):
    """What the change would make of the kit, and whom it would touch."""

    account_kit_id = shapes.Id()
    etag = shapes.Text()
    primitives_config = shapes.Object()
    connections_config = shapes.Object()
    changes = ChangeShape(many=True)
    users = shapes.Whole(min_value=0, max_value=COUNT_MAX)
    keys = shapes.Whole(
        min_value=0, max_value=COUNT_MAX, help_text="Scoped to the kit, or sealed to one of its users."
    )
    models = ModelChangesShape()


class PrimitiveShape(shapes.Answer):
    name = shapes.Text()
    enabled = shapes.Truth()
    requires_approval = shapes.Truth()
    source = shapes.Choice(SOURCES)
    defaults = shapes.Object()


class LimitShape(shapes.Answer):
    """One limit; `value` is null where there is none, `path` is where it is set."""

    name = shapes.Text()
    value = shapes.Amount(allow_null=True)
    unit = shapes.Text()
    source = shapes.Choice(SOURCES)
    path = shapes.Text()


class LLMShape(shapes.Answer):
    """The kit's rules for models: null allows every one."""

    allowed_models = serializers.ListField(child=shapes.Text(), allow_null=True)
    denied_models = serializers.ListField(child=shapes.Text())
    provider = shapes.Object(allow_null=True)
    provider_required = shapes.Object(allow_null=True)


class ModelsShape(shapes.Answer):
    """Those that may be called, of so many in the catalogue."""

    known = shapes.Whole(min_value=0, max_value=COUNT_MAX)
    count = shapes.Whole(min_value=0, max_value=COUNT_MAX)
    names = serializers.ListField(child=shapes.Text())


class EffectiveShape(shapes.Answer):
    """What a tenant user of the kit may do; `fault` says why a kit that cannot be read allows nothing."""

    account_kit_id = shapes.Id()
    account_kit_name = shapes.Text()
    etag = shapes.Text()
    fault = shapes.Text(allow_null=True)
    primitives = PrimitiveShape(many=True)
    llm = LLMShape()
    limits = LimitShape(many=True)
    models = ModelsShape()
