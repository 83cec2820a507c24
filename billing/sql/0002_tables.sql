-- What a call needs beyond its hold: extensions while it runs, the client's key to it, a second look at upstream's
-- record; what a person decided; reports that never scan the calls; and a ledger that is chained.

-- What was set aside for a running call after its hold. Never changes.
create table billing_hold_extension (
    company_id         uuid not null,
    hold_id            uuid not null,
    number             integer not null check (number > 0),
    amount_nanocredits bigint not null check (amount_nanocredits between 1 and 1000000000000000),
    created_at         timestamptz not null default clock_timestamp(),
    primary key (company_id, hold_id, number)
);

-- Which call a client's Idempotency-Key stands for. A claim outlives its call, and is taken over by a later one once
-- it is free: see billing_place_holds.
create table billing_idempotency (
    company_id  uuid not null,
    key_sha256  bytea not null check (octet_length(key_sha256) = 32),
    fingerprint bytea not null,
    hold_id     uuid not null,
    created_at  timestamptz not null default clock_timestamp(),
    primary key (company_id, key_sha256)
);
create index billing_idempotency_created_at on billing_idempotency (created_at);
comment on column billing_idempotency.fingerprint is 'Of the request: the same key with another body is refused.';

-- Settled calls whose cost did not come with the answer: upstream's record is looked at again.
create table billing_second_look (
    company_id    uuid not null,
    hold_id       uuid not null,
    generation_id text collate "C" not null,
    number        integer not null check (number > 0),
    next_at       timestamptz not null check (isfinite(next_at)),
    primary key (company_id, hold_id)
);
create index billing_second_look_next_at on billing_second_look (next_at);

-- What a person decided about an anomaly, once. Never changes.
create table billing_decision (
    kind       text collate "C" not null,
    reference  text collate "C" not null,
    decision   text collate "C" not null check (decision in ('charge', 'void')),
    actor      text not null check (actor <> ''),
    reason     text not null,
    cost_usd   numeric check (cost_usd >= 0 and cost_usd <= 1000),
    created_at timestamptz not null default clock_timestamp(),
    primary key (kind, reference)
);

-- What settled calls add up to, by the hour (UTC) in which each was settled; a correction changes that hour's row.
-- A call that was given back counts in voided_calls alone. The amounts are sums without a bound of their own.
create table billing_usage (
    company_id          uuid not null,
    hour                timestamptz not null,
    tenant_user_id      uuid not null,
    key_id              uuid not null,
    kit_id              uuid not null,
    model               text collate "C" not null,
    calls               bigint not null default 0 check (calls >= 0),
    voided_calls        bigint not null default 0 check (voided_calls >= 0),
    tokens_prompt       bigint not null default 0 check (tokens_prompt >= 0),
    tokens_completion   bigint not null default 0 check (tokens_completion >= 0),
    cost_usd            numeric not null default 0 check (cost_usd >= 0),
    charged_nanocredits numeric not null default 0 check (charged_nanocredits >= 0),
    held_nanocredits    numeric not null default 0 check (held_nanocredits >= 0),
    overrun_nanocredits numeric not null default 0 check (overrun_nanocredits >= 0),
    primary key (company_id, hour, tenant_user_id, key_id, kit_id, model)
) with (fillfactor = 50);
comment on column billing_usage.held_nanocredits is 'What the calls had held when they were settled, extensions included.';
comment on column billing_usage.overrun_nanocredits is 'How far calls were charged above what they had held.';

alter table billing_open_hold add column estimate_usd numeric check (estimate_usd >= 0 and estimate_usd <= 1000);
comment on column billing_open_hold.estimate_usd is 'What the gateway saw of the answer, priced; no evidence of upstream''s.';

alter table billing_wallet add column chain_head bytea not null default '';
comment on column billing_wallet.chain_head is 'hash of the last entry; empty before the first.';

alter table billing_entry
    add column actor    text not null default '',
    add column corrects text collate "C" not null default '',
    add column hash     bytea check (octet_length(hash) = 32);
comment on column billing_entry.actor is 'Who moved it; empty is the platform itself.';
comment on column billing_entry.corrects is 'reference of the entry that this one corrects or refunds; empty where none.';
comment on column billing_entry.hash is 'sha256 of the hash before it and this row: see billing_entry_hash.';

alter table billing_budget
    add column period text collate "C" check (period in ('day', 'week', 'month', 'total')),
    drop constraint billing_budget_pkey;

do $$
declare name text;
begin
    foreach name in array array['hold_extension', 'decision'] loop
        execute format('create trigger no_rewrite before update or delete on billing_%s '
                       'for each row execute function billing_deny()', name);
        execute format('create trigger no_truncate before truncate on billing_%s '
                       'for each statement execute function billing_deny()', name);
    end loop;
end $$;
