"""The platform with one of its safeguards taken out, in one database or one process tree: a run must notice."""

import psycopg

from tests.chaos.plans import Mutant

# The keys that make a second settlement of a hold, or a second entry for one, impossible.
_KEYS = """
    ALTER TABLE billing_settlement DROP CONSTRAINT billing_settlement_pkey CASCADE;
    DROP INDEX billing_settlement_generation_id;
    ALTER TABLE billing_entry DROP CONSTRAINT billing_entry_company_id_action_reference_key;
"""
_SETTLE = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'billing_settle'"
# In the function: what says that a hold is settled only while it is open, and a generation only once.
_UNGUARDED = (
    ("o.amount_nanocredits as amount,", "coalesce(o.amount_nanocredits, 0) as amount,"),
    (
        "left join billing_hold h on (h.company_id, h.hold_id) = (o.company_id, o.hold_id)",
        "left join billing_hold h on (h.company_id, h.hold_id) = (p_company_ids[i], p_hold_ids[i])",
    ),
    (
        "left join billing_settlement s on s.generation_id = nullif(p_generation_ids[i], '')",
        "left join billing_settlement s on false",
    ),
)


def put_in(mutant: Mutant, owner_url: str) -> None:
    """Change the database of this mutant; those of the processes are put in by roles.prepare."""
    if mutant != "no-unique-settlement":
        return
    with psycopg.connect(owner_url) as owner:
        owner.execute(_KEYS)
        row = owner.execute(_SETTLE).fetchone()
        text = str(row[0]) if row else ""
        for guarded, unguarded in _UNGUARDED:
            if text.count(guarded) != 1:
                raise ValueError(
                    f"billing_settle says {guarded!r} {text.count(guarded)} times: mend the mutant."
                )
            text = text.replace(guarded, unguarded)
        owner.execute(text.encode())
