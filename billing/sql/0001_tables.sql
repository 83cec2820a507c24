-- The books. Unit of every amount: nanocredits (1 credit = 10^9), bigint. See docs/money.md.
-- Money tables carry no foreign key to the wallet: on a hot wallet it costs 3.3 times the time of a hold.

-- One row per company, locked first by every function that moves its money.
create table billing_wallet (
    company_id         uuid primary key,
    posted_nanocredits bigint not null default 0,
    held_nanocredits   bigint not null default 0 check (held_nanocredits >= 0),
    floor_nanocredits  bigint not null default 0 check (floor_nanocredits between -1000000000000000000 and 0),
    frozen             boolean not null default false,
    version            bigint not null default 0 check (version >= 0),
    created_at         timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on column billing_wallet.floor_nanocredits is 'Credit line: admission may take the balance down to here.';
comment on column billing_wallet.version is 'seq of the last entry.';

-- What was promised to a call before upstream heard of it, with the prices it will be charged at. Never changes.
create table billing_hold (
    company_id         uuid not null,
    hold_id            uuid not null,
    key_id             uuid not null,
    kit_id             uuid not null,
    tenant_user_id     uuid not null,
    amount_nanocredits bigint not null check (amount_nanocredits between 0 and 1000000000000000),
    is_price_known     boolean not null,
    markup             numeric not null check (markup > 0 and markup <= 1000),
    credit_value_usd   numeric not null check (credit_value_usd > 0 and credit_value_usd <= 1000000),
    ttl_s              integer not null check (ttl_s > 0),
    caps               jsonb,
    details            jsonb not null,
    created_at         timestamptz not null default clock_timestamp(),
    primary key (company_id, hold_id)
);
comment on column billing_hold.is_price_known is 'The amount is a bound on what the call can cost, not a guess.';
comment on column billing_hold.caps is 'The budgets this hold counts against: [{scope, scope_id, period_start, limit}], or null.';

-- The work queue: one row per call that is not settled yet. next_at is null once the call waits for a person.
create table billing_open_hold (
    company_id         uuid not null,
    hold_id            uuid not null,
    amount_nanocredits bigint not null,
    generation_id      text collate "C",
    stage              text collate "C" not null default 'held' check (stage in ('held', 'dispatched', 'parked')),
    next_at            timestamptz check ((next_at is null) = (stage = 'parked') and isfinite(next_at)),
    attempts           integer not null default 0,
    created_at         timestamptz not null default clock_timestamp(),
    primary key (company_id, hold_id)
) with (fillfactor = 70);
create index billing_open_hold_next_at on billing_open_hold (next_at);

-- How a call ended: exactly one row per hold. cost_usd is the literal upstream sent, to the last digit.
create table billing_settlement (
    company_id          uuid not null,
    hold_id             uuid not null,
    kind                text collate "C" not null check (kind in ('post', 'void')),
    cost_usd            numeric,
    charged_nanocredits bigint not null check (charged_nanocredits >= 0),
    source              text collate "C" not null check (source in (
        'inline', 'stream', 'generation', 'broadcast', 'estimate', 'no_evidence', 'operator')),
    generation_id       text collate "C",
    details             jsonb not null,
    created_at          timestamptz not null default clock_timestamp(),
    primary key (company_id, hold_id),
    -- NaN passes `>= 0` in PostgreSQL, and fails `<= 1000`.
    check (kind <> 'post' or (cost_usd is not null and cost_usd >= 0 and cost_usd <= 1000)),
    check (kind <> 'void' or (cost_usd is null and charged_nanocredits = 0))
);
create unique index billing_settlement_generation_id on billing_settlement (generation_id)
    where generation_id is not null;

-- What a call's cost turned out to be after it was settled. The last number is the call's cost today.
create table billing_correction (
    company_id          uuid not null,
    hold_id             uuid not null,
    number              integer not null check (number > 0),
    reference           text collate "C" not null check (reference <> ''),
    cost_usd            numeric not null check (cost_usd >= 0 and cost_usd <= 1000),
    charged_nanocredits bigint not null check (charged_nanocredits >= 0),
    source              text collate "C" not null check (source in (
        'inline', 'stream', 'generation', 'broadcast', 'estimate', 'no_evidence', 'operator')),
    generation_id       text collate "C",
    created_at          timestamptz not null default clock_timestamp(),
    primary key (company_id, hold_id, number),
    unique (company_id, hold_id, reference)
);
comment on column billing_correction.generation_id is 'The id that first came with this correction; null if it was known.';
create unique index billing_correction_generation_id on billing_correction (generation_id)
    where generation_id is not null;

-- The ledger. Debits of the wallet are negative; counter_account is a label, so no global row is ever hot.
create table billing_entry (
    company_id                uuid not null,
    seq                       bigint not null check (seq > 0),
    action                    text collate "C" not null check (action in (
        'llm_call', 'credit_topup', 'grant', 'refund', 'correction', 'chargeback')),
    reference                 text collate "C" not null check (reference <> ''),
    amount_nanocredits        bigint not null check (amount_nanocredits <> 0),
    counter_account           text collate "C" not null,
    balance_after_nanocredits bigint not null,
    note                      text not null default '',
    created_at                timestamptz not null default clock_timestamp(),
    primary key (company_id, seq),
    unique (company_id, action, reference),
    check ((action, counter_account) in (
        ('llm_call', 'revenue'), ('credit_topup', 'cash'), ('grant', 'promo'), ('refund', 'revenue'),
        ('correction', 'revenue'), ('chargeback', 'cash'))),
    check (action <> 'llm_call' or amount_nanocredits < 0),
    check (action not in ('credit_topup', 'grant', 'refund') or amount_nanocredits > 0)
);

-- What a cap has seen in one period. A new period is a new row; nothing is ever reset.
create table billing_budget (
    company_id        uuid not null,
    scope             text collate "C" not null check (scope in ('key', 'user')),
    scope_id          uuid not null,
    period_start      date not null,
    spent_nanocredits bigint not null default 0 check (spent_nanocredits >= 0),
    held_nanocredits  bigint not null default 0 check (held_nanocredits >= 0),
    primary key (company_id, scope, scope_id, period_start)
) with (fillfactor = 50);

-- What a person must look at: evidence the books refused to act on.
create table billing_anomaly (
    kind       text collate "C" not null,
    reference  text collate "C" not null,
    company_id uuid,
    hold_id    uuid,
    details    jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (kind, reference)
);

create function billing_deny() returns trigger language plpgsql as $$
begin
    raise exception 'append-only table %: % refused', tg_table_name, tg_op using errcode = '42501';
end $$;

do $$
declare name text;
begin
    foreach name in array array['hold', 'settlement', 'correction', 'entry', 'anomaly'] loop
        execute format('create trigger no_rewrite before update or delete on billing_%s '
                       'for each row execute function billing_deny()', name);
        execute format('create trigger no_truncate before truncate on billing_%s '
                       'for each statement execute function billing_deny()', name);
    end loop;
end $$;
