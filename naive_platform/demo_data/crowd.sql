-- Many companies' calls, a day at a time, without the functions of the books: whole tables at once, by rules that
-- billing_violations holds against them. Everything here lives as long as one session,
-- tables as long as the transaction.

create temporary table seed_company (
    no integer primary key, id uuid not null, users integer not null, keys integer not null
) on commit drop;
create temporary table seed_user (
    company_no integer, no integer, id uuid, kit_id uuid, kit text, primary key (company_no, no)
) on commit drop;
create temporary table seed_key (company_no integer, no integer, id uuid, primary key (company_no, no)) on commit drop;
-- A hundred slots a kit: a model has as many as its share.
create temporary table seed_model (
    kit text, slot integer, id text, provider text, prompt_usd numeric, completion_usd numeric,
    first_token_ms integer, token_ms integer, primary key (kit, slot)
) on commit drop;
create temporary table seed_wallet (
    no integer primary key, seq bigint not null default 0, balance bigint not null default 0,
    head bytea not null default ''
) on commit drop;
create temporary table seed_call (
    no integer, company_id uuid, hold_id uuid, user_id uuid, kit_id uuid, key_id uuid, caps jsonb,
    at timestamptz, settled_at timestamptz, ending text, model text, provider text, prompt integer, completion integer,
    latency_ms integer, duration_ms integer, cost_usd numeric, charged bigint, amount bigint,
    corrected_at timestamptz, cost_usd_today numeric, charged_today bigint
) on commit drop;
create temporary table seed_event (
    no integer, company_id uuid, at timestamptz, action text, reference text, amount bigint, note text, corrects text
) on commit drop;

create temporary table seed_open (
    company_id uuid, hold_id uuid, user_id uuid, kit_id uuid, key_id uuid, at timestamptz, model text, amount bigint,
    is_parked boolean
) on commit drop;

-- A UUIDv7 as of that instant; 2**-48 ms is below what anybody asks.
create or replace function pg_temp.seed_id(p_at timestamptz) returns uuid language sql volatile as $$
    select uuidv7(p_at - clock_timestamp())
$$;

-- What a cost comes to, rounded up once; exact whatever a credit is worth.
create or replace function pg_temp.seed_charge(p_cost_usd numeric, p_markup numeric, p_credit_value_usd numeric) returns bigint
language sql immutable as $$
    select (div(p_cost_usd * p_markup * 1000000000, p_credit_value_usd)
            + sign(mod(p_cost_usd * p_markup * 1000000000, p_credit_value_usd)))::bigint
$$;

-- Draws the calls of one day, which begins at a whole hour. A fifth of them are the first company's; of the others, and
-- of a company's users and keys, the n-th has a share like 1/n.
create or replace function pg_temp.seed_draw(
    p_from timestamptz, p_calls integer, p_markup numeric, p_credit_value_usd numeric, p_cap bigint
) returns void language sql volatile as $$
    truncate seed_call;
    insert into seed_call
    with drawn as materialized (
        select case when random() < 0.2 then 1
                    else least(1 + ceil(power(greatest(c.companies - 1, 1), random()))::integer, c.companies) end as no,
               p_from + make_interval(secs => mod(
                   (h.hours[1 + floor(random() * cardinality(h.hours))::integer] * 3600 + random() * 3599
                    - extract(epoch from p_from - date_trunc('day', p_from, 'UTC'))::double precision
                    + 86400)::numeric, 86400)::double precision) as at,
               random() as of_users, random() as of_keys, floor(random() * 100)::integer as slot, random() as ends,
               greatest(8, exp(random_normal(8.07, 0.9)))::integer as prompt,
               least(2048, greatest(8, exp(random_normal(6.04, 0.8))))::integer as completion,
               exp(random_normal(0, 0.35)) as slowness, 1.5 + 3 * random() as bound, random() as later
          from generate_series(1, p_calls), (select count(*)::integer as companies from seed_company) c,
               (select array[0, 2, 4, 6, 7, 7, 8, 8, 8, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 11, 12, 12, 13, 13, 13, 14, 14,
                             14, 14, 15, 15, 15, 15, 16, 16, 16, 17, 17, 18, 18, 19, 20, 21, 22] as hours) h
    ), called as (
        select d.*, c.id as company_id, u.id as user_id, u.kit_id, k.id as key_id, u.kit = 'Free' as is_free,
               k.no = 2 as is_capped, m.id as model, m.provider,
               case when d.ends < 0.02 then 'refused' when d.ends < 0.03 then 'generation'
                    when d.ends < 0.031 then 'estimate' when d.ends < 0.5 then 'stream' else 'inline' end as ending,
               (m.first_token_ms * d.slowness)::integer as latency_ms,
               (m.first_token_ms * d.slowness + d.completion * m.token_ms)::integer as duration_ms,
               trim_scale((d.prompt * m.prompt_usd + d.completion * m.completion_usd) / 1000000) as cost_usd
          from drawn d join seed_company c on c.no = d.no
          join seed_user u on u.company_no = d.no and u.no = least(ceil(power(c.users, d.of_users))::integer, c.users)
          join seed_key k on k.company_no = d.no and k.no = least(ceil(power(c.keys, d.of_keys))::integer, c.keys)
          join seed_model m on m.kit = u.kit and m.slot = d.slot
    ), ended as (
        select *, least(at + make_interval(secs => duration_ms / 1000.0),
                        p_from + interval '23:59:59.9') as settled_at,
               case when ending = 'estimate' then trim_scale(cost_usd * 0.75) else cost_usd end as told_usd
          from called
    )
    select no, company_id, pg_temp.seed_id(at), user_id, kit_id, key_id,
           nullif(case when is_capped then jsonb_build_array(jsonb_build_object(
                          'scope', 'key', 'scope_id', key_id, 'period', 'month',
                          'period_start', to_char(at at time zone 'UTC', 'YYYY-MM-01'), 'limit', p_cap)) else '[]' end
                  || case when is_free then jsonb_build_array(jsonb_build_object(
                          'scope', 'user', 'scope_id', user_id, 'period', 'month',
                          'period_start', to_char(at at time zone 'UTC', 'YYYY-MM-01'), 'limit', p_cap)) else '[]' end,
                  '[]'),
           at, settled_at, ending, model, provider, prompt, completion, latency_ms, duration_ms,
           case when ending <> 'refused' then told_usd end,
           case when ending <> 'refused' then pg_temp.seed_charge(told_usd, p_markup, p_credit_value_usd) else 0 end,
           ceil(pg_temp.seed_charge(cost_usd, p_markup, p_credit_value_usd) * bound)::bigint,
           case when ending = 'estimate'
                then settled_at + later * (p_from + interval '24 hours' - settled_at) end,
           case when ending <> 'refused' then cost_usd else 0 end,
           case when ending <> 'refused' then pg_temp.seed_charge(cost_usd, p_markup, p_credit_value_usd) else 0 end
      from ended
$$;

-- What moves the wallets on this day: the calls and their corrections, and before them a top-up for whoever runs short.
create or replace function pg_temp.seed_movements(p_from timestamptz, p_pack bigint) returns void language sql volatile as $$
    truncate seed_event;
    insert into seed_event
    select w.no, s.company_id, p_from, 'credit_topup', 'seed:' || to_char(p_from, 'YYYY-MM-DD'),
           greatest(ceil((s.spent * 5.0 - w.balance) / p_pack), 1)::bigint * p_pack, 'Bank transfer', ''
      from seed_wallet w
      join (select no, company_id, sum(greatest(charged, charged_today)) as spent from seed_call group by 1, 2) s using (no)
     where w.balance < s.spent * 1.2 + p_pack / 10;
    insert into seed_event
    select no, company_id, settled_at, 'llm_call', 'gen_' || hold_id, -charged, '', '' from seed_call where charged > 0;
    insert into seed_event
    select no, company_id, corrected_at, 'correction', 'gen_' || hold_id || ':second_look:1', charged - charged_today,
           'Upstream''s record, looked at again', 'gen_' || hold_id
      from seed_call where corrected_at is not null and charged <> charged_today;
$$;

-- The entries of these movements, each chained to the one before it.
create or replace function pg_temp.seed_chain() returns setof billing_entry language plpgsql volatile as $$
declare
    event record;
    entry billing_entry;
    seqs bigint[]; balances bigint[]; heads bytea[];
begin
    select array_agg(seq order by no), array_agg(balance order by no), array_agg(head order by no)
      into seqs, balances, heads from seed_wallet;
    for event in select * from seed_event order by at, no, reference loop
        seqs[event.no] := seqs[event.no] + 1;
        balances[event.no] := balances[event.no] + event.amount;
        heads[event.no] := billing_entry_hash(
            heads[event.no], event.company_id, seqs[event.no], event.action, event.amount,
            case event.action when 'credit_topup' then 'cash' else 'revenue' end, balances[event.no], event.at,
            event.reference, event.note, '', event.corrects);
        entry.company_id := event.company_id;
        entry.seq := seqs[event.no];
        entry.action := event.action;
        entry.reference := event.reference;
        entry.amount_nanocredits := event.amount;
        entry.counter_account := case event.action when 'credit_topup' then 'cash' else 'revenue' end;
        entry.balance_after_nanocredits := balances[event.no];
        entry.note := event.note;
        entry.created_at := event.at;
        entry.actor := '';
        entry.corrects := event.corrects;
        entry.hash := heads[event.no];
        return next entry;
    end loop;
    update seed_wallet w set seq = seqs[w.no], balance = balances[w.no], head = heads[w.no];
end $$;

-- Writes what was drawn into the books, each table in the order of time, as calls would have filled it.
create or replace function pg_temp.seed_write(p_markup numeric, p_credit_value_usd numeric, p_ttl_s integer) returns void
language sql volatile as $$
    insert into billing_hold (company_id, hold_id, key_id, kit_id, tenant_user_id, amount_nanocredits, is_price_known,
                              markup, credit_value_usd, ttl_s, caps, details, created_at)
    select company_id, hold_id, key_id, kit_id, user_id, amount, true, p_markup, p_credit_value_usd, p_ttl_s, caps,
           jsonb_build_object(
               'model', model, 'models', jsonb_build_array(model), 'shape', 'chat',
               'streamed', ending not in ('inline', 'refused'), 'prompt_tokens_bound', prompt * 4,
               'output_tokens_bound', greatest(1024, completion * 2)),
           at
      from seed_call order by at;
    insert into billing_settlement (company_id, hold_id, kind, cost_usd, charged_nanocredits, source, generation_id,
                                    details, created_at)
    select company_id, hold_id, case ending when 'refused' then 'void' else 'post' end, cost_usd, charged,
           case ending when 'refused' then 'inline' else ending end,
           case when ending <> 'refused'
                then 'gen-' || extract(epoch from at)::bigint || '-' || right(replace(hold_id::text, '-', ''), 20) end,
           case ending when 'refused'
                then jsonb_build_object('latency_ms', latency_ms, 'duration_ms', latency_ms + 1)
                else jsonb_build_object(
                    'model', model, 'provider', provider, 'finish_reason', 'stop', 'tokens_prompt', prompt,
                    'tokens_completion', completion, 'is_byok', false, 'latency_ms', latency_ms,
                    'duration_ms', duration_ms) end,
           settled_at
      from seed_call order by settled_at;
    insert into billing_correction (company_id, hold_id, number, reference, cost_usd, charged_nanocredits, source,
                                    created_at)
    select company_id, hold_id, 1, 'second_look:1', cost_usd_today, charged_today, 'generation', corrected_at
      from seed_call where corrected_at is not null order by corrected_at;
    insert into billing_entry (company_id, seq, action, reference, amount_nanocredits, counter_account,
                               balance_after_nanocredits, note, created_at, actor, corrects, hash)
    select company_id, seq, action, reference, amount_nanocredits, counter_account, balance_after_nanocredits, note,
           created_at, actor, corrects, hash from pg_temp.seed_chain();
    insert into billing_usage (company_id, hour, tenant_user_id, key_id, kit_id, model, calls, voided_calls, tokens_prompt,
                               tokens_completion, cost_usd, charged_nanocredits, held_nanocredits, overrun_nanocredits)
    select company_id, date_trunc('hour', settled_at, 'UTC') as hour, user_id, key_id, kit_id, model,
           count(*) filter (where ending <> 'refused'), count(*) filter (where ending = 'refused'),
           coalesce(sum(prompt) filter (where ending <> 'refused'), 0),
           coalesce(sum(completion) filter (where ending <> 'refused'), 0),
           sum(cost_usd_today), sum(charged_today), coalesce(sum(amount) filter (where ending <> 'refused'), 0),
           coalesce(sum(greatest(charged_today - amount, 0)) filter (where ending <> 'refused'), 0)
      from seed_call group by 1, 2, 3, 4, 5, 6 order by 2, 1;
    insert into billing_budget as b (company_id, scope, scope_id, period, period_start, spent_nanocredits)
    select s.company_id, c.scope, c.scope_id, c.period, c.period_start, sum(s.charged_today)
      from seed_call s,
           jsonb_to_recordset(s.caps) as c (scope text, scope_id uuid, period text, period_start date)
     where s.caps is not null group by 1, 2, 3, 4, 5
        on conflict (company_id, scope, scope_id, period, period_start)
        do update set spent_nanocredits = b.spent_nanocredits + excluded.spent_nanocredits;
$$;

-- What is under way at the end: calls that run, and one in ten that waits for a person.
create or replace function pg_temp.seed_open(
    p_now timestamptz, p_calls integer, p_markup numeric, p_credit_value_usd numeric, p_ttl_s integer
) returns void language sql volatile as $$
    insert into seed_open
    select c.id as company_id, pg_temp.seed_id(at) as hold_id, u.id as user_id, u.kit_id, k.id as key_id, at, m.id as model,
           100000000 + floor(random() * 500000000)::bigint as amount, number % 10 = 0 as is_parked
      from (select number, p_now - random() * interval '10 minutes' - case number % 10 when 0 then interval '1 day'
                                                                    else interval '0' end as at,
                   1 + mod(number, (select count(*)::integer from seed_company)) as no
              from generate_series(1, p_calls) as number) o
      join seed_company c using (no)
      join seed_user u on (u.company_no, u.no) = (o.no, 1)
      join seed_key k on (k.company_no, k.no) = (o.no, 1)
      join seed_model m on (m.kit, m.slot) = (u.kit, 0);
    insert into billing_hold (company_id, hold_id, key_id, kit_id, tenant_user_id, amount_nanocredits, is_price_known,
                              markup, credit_value_usd, ttl_s, details, created_at)
    select company_id, hold_id, key_id, kit_id, user_id, amount, true, p_markup, p_credit_value_usd, p_ttl_s,
           jsonb_build_object('model', model, 'models', jsonb_build_array(model), 'shape', 'chat', 'streamed', true), at
      from seed_open order by at;
    insert into billing_open_hold (company_id, hold_id, amount_nanocredits, generation_id, stage, next_at, created_at)
    select company_id, hold_id, amount, 'gen-' || extract(epoch from at)::bigint || '-' || md5(hold_id::text),
           case when is_parked then 'parked' else 'dispatched' end,
           case when not is_parked then at + make_interval(secs => p_ttl_s) end, at
      from seed_open order by at;
    insert into billing_anomaly (kind, reference, company_id, hold_id, details, created_at)
    select 'implausible_cost',
           billing_evidence_reference(hold_id, 'post', 187.5, 0, 'inline', null, null), company_id, hold_id,
           billing_evidence_details('post', 187.5, 0, 'inline', null, '{}', null), at
      from seed_open where is_parked;
$$;
