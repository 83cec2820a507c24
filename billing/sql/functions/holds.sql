-- Admission: many calls in one transaction, answered in the order they came; a refused row takes nothing.
--
-- p_caps is null when no row has a cap; else one document a row, or null:
-- [{scope, scope_id, period, period_start, limit}]. p_claim_keys and p_claim_prints are null when no row claims.
-- outcome: placed, insufficient (limit_name is what was short: wallet, key_cap, user_cap), frozen, no_wallet; where
-- another call has the row's claim, and first_hold_id names it: in_progress, completed, or mismatch (another request).
-- A row that wants nothing (a free model) is placed whatever the balance is.
--
-- A claim is free again when its hold was given back and stayed free of charge, or is closed and 24 hours old. A row
-- that is refused claims nothing.
--
-- The planner settings hold for every function on the hot path: their tables grow and shrink by orders of
-- magnitude between two looks of the statistics, and each of their look-ups is by key.
create function billing_place_holds(
    p_company_ids uuid[], p_hold_ids uuid[], p_key_ids uuid[], p_kit_ids uuid[], p_tenant_user_ids uuid[],
    p_wanted bigint[], p_least bigint[], p_prices_known boolean[], p_markups numeric[], p_credit_values_usd numeric[],
    p_ttls_s integer[], p_details jsonb[], p_caps jsonb[], p_claim_keys bytea[], p_claim_prints bytea[]
) returns table (
    outcome text, limit_name text, granted_nanocredits bigint, available_nanocredits bigint,
    balance_nanocredits bigint, held_nanocredits bigint, first_hold_id uuid
) language plpgsql security definer
set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    rows_asked constant integer := cardinality(p_hold_ids);
    now_at timestamptz;
    wallet_ids uuid[]; balances bigint[]; helds bigint[]; floors bigint[]; frozens boolean[]; at integer;
    cap_rows integer[]; cap_slots integer[]; cap_names text[]; cap_limits bigint[]; cap_used bigint[];
    first_cap integer; next_cap integer := 1; room bigint;
    claim_slots integer[]; claim_states text[]; claim_prints bytea[]; claim_holds uuid[]; slot integer;
    grants bigint[] := '{}';
begin
    -- Whatever moves a company's money locks its wallet first, wallets by id: nothing deadlocks, and the lock
    -- covers the company's budgets too.
    select array_agg(w.company_id), array_agg(w.posted_nanocredits), array_agg(w.held_nanocredits),
           array_agg(w.floor_nanocredits), array_agg(w.frozen)
      into wallet_ids, balances, helds, floors, frozens
      from (select * from billing_wallet where company_id = any (p_company_ids)
             order by company_id for no key update) w;
    now_at := billing_now();

    if p_caps is not null then
        insert into billing_budget (company_id, scope, scope_id, period, period_start)
        select distinct p_company_ids[r."row"], c.scope, c.scope_id, c.period, c.period_start
          from unnest(p_caps) with ordinality as r (caps, "row"),
               jsonb_to_recordset(r.caps) as c (scope text, scope_id uuid, period text, period_start date)
         where p_company_ids[r."row"] = any (wallet_ids)
            on conflict do nothing;

        -- Caps of several rows on one budget share a slot of cap_used: the place of the first of them.
        with asked as (
            select r."row", c.*, p_company_ids[r."row"] as company_id, row_number() over (order by r."row") as place
              from unnest(p_caps) with ordinality as r (caps, "row"),
                   jsonb_to_recordset(r.caps)
                   as c (scope text, scope_id uuid, period text, period_start date, "limit" bigint)
        ), slotted as (
            select a.*, b.spent_nanocredits + b.held_nanocredits as used,
                   min(a.place) over (partition by a.company_id, a.scope, a.scope_id, a.period, a.period_start) as slot
              from asked a left join billing_budget b using (company_id, scope, scope_id, period, period_start)
        )
        select array_agg("row" order by place), array_agg(slot order by place),
               array_agg(scope || '_cap' order by place), array_agg("limit" order by place),
               array_agg(used order by place)
          into cap_rows, cap_slots, cap_names, cap_limits, cap_used
          from slotted;
    end if;

    if p_claim_keys is not null then
        -- Rows of this batch with one claim share a slot: the place of the first of them.
        select array_agg(min_i order by i), array_agg(state order by i), array_agg(fingerprint order by i),
               array_agg(hold_id order by i)
          into claim_slots, claim_states, claim_prints, claim_holds
          from (select i, case when p_claim_keys[i] is not null
                               then min(i) over (partition by p_company_ids[i], p_claim_keys[i]) end as min_i,
                       c.fingerprint, c.hold_id,
                       case when o.hold_id is not null then 'in_progress'
                            when c.created_at < now_at - interval '24 hours' then 'free'
                            when s.kind = 'void' and not exists (
                                 select from billing_correction k
                                  where (k.company_id, k.hold_id) = (c.company_id, c.hold_id)) then 'free'
                            when s.hold_id is not null then 'completed' end as state
                  from generate_series(1, rows_asked) as i
                  left join billing_idempotency c on (c.company_id, c.key_sha256) = (p_company_ids[i], p_claim_keys[i])
                  left join billing_open_hold o on (o.company_id, o.hold_id) = (c.company_id, c.hold_id)
                  left join billing_settlement s on (s.company_id, s.hold_id) = (c.company_id, c.hold_id)) known;
    end if;

    for i in 1 .. rows_asked loop
        at := array_position(wallet_ids, p_company_ids[i]);
        limit_name := 'wallet';
        available_nanocredits := balances[at] - helds[at] - floors[at];
        first_cap := next_cap;
        while cap_rows[next_cap] = i loop
            room := cap_limits[next_cap] - cap_used[cap_slots[next_cap]];
            if room < available_nanocredits then
                available_nanocredits := room;
                limit_name := cap_names[next_cap];
            end if;
            next_cap := next_cap + 1;
        end loop;

        -- No hold is above a million credits; see the check of billing_hold.
        granted_nanocredits := case when p_wanted[i] <= 0 then 0
                                    else least(p_wanted[i], available_nanocredits, 1000000000000000) end;
        if p_claim_keys is not null then
            slot := claim_slots[i];
            first_hold_id := case when claim_states[slot] <> 'free' then claim_holds[slot] end;
        end if;
        outcome := case when at is null then 'no_wallet'
                        when first_hold_id is not null and claim_prints[slot] <> p_claim_prints[i] then 'mismatch'
                        when first_hold_id is not null then claim_states[slot]
                        when frozens[at] then 'frozen'
                        when granted_nanocredits < greatest(p_least[i], 0) then 'insufficient'
                        else 'placed' end;
        if outcome = 'placed' then
            grants[i] := granted_nanocredits;
            if slot is not null then
                claim_states[slot] := 'in_progress';
                claim_prints[slot] := p_claim_prints[i];
                claim_holds[slot] := p_hold_ids[i];
            end if;
            helds[at] := helds[at] + granted_nanocredits;
            for cap in first_cap .. next_cap - 1 loop
                cap_used[cap_slots[cap]] := cap_used[cap_slots[cap]] + granted_nanocredits;
            end loop;
        else
            granted_nanocredits := 0;
        end if;
        balance_nanocredits := balances[at];
        held_nanocredits := helds[at];
        return next;
    end loop;

    insert into billing_hold (company_id, hold_id, key_id, kit_id, tenant_user_id, amount_nanocredits,
                              is_price_known, markup, credit_value_usd, ttl_s, caps, details, created_at)
    select p_company_ids[i], p_hold_ids[i], p_key_ids[i], p_kit_ids[i], p_tenant_user_ids[i], grants[i],
           p_prices_known[i], p_markups[i], p_credit_values_usd[i], p_ttls_s[i], p_caps[i], p_details[i], now_at
      from generate_series(1, rows_asked) as i where grants[i] is not null;

    insert into billing_open_hold (company_id, hold_id, amount_nanocredits, next_at, created_at)
    select p_company_ids[i], p_hold_ids[i], grants[i], now_at + make_interval(secs => p_ttls_s[i]), now_at
      from generate_series(1, rows_asked) as i where grants[i] is not null;

    update billing_wallet w set held_nanocredits = helds[array_position(wallet_ids, w.company_id)]
     where w.company_id = any (wallet_ids)
       and w.held_nanocredits <> helds[array_position(wallet_ids, w.company_id)];

    if p_caps is not null then
        update billing_budget b set held_nanocredits = b.held_nanocredits + t.amount
          from (select p_company_ids[r."row"] as company_id, c.scope, c.scope_id, c.period, c.period_start,
                       sum(grants[r."row"]) as amount
                  from unnest(p_caps) with ordinality as r (caps, "row"),
                       jsonb_to_recordset(r.caps) as c (scope text, scope_id uuid, period text, period_start date)
                 group by 1, 2, 3, 4, 5) t
         where (b.company_id, b.scope, b.scope_id, b.period, b.period_start)
             = (t.company_id, t.scope, t.scope_id, t.period, t.period_start) and t.amount > 0;
    end if;

    if p_claim_keys is not null then
        insert into billing_idempotency (company_id, key_sha256, fingerprint, hold_id, created_at)
        select p_company_ids[i], p_claim_keys[i], p_claim_prints[i], p_hold_ids[i], now_at
          from generate_series(1, rows_asked) as i
         where grants[i] is not null and p_claim_keys[i] is not null order by 1, 2
            on conflict (company_id, key_sha256) do update
           set fingerprint = excluded.fingerprint, hold_id = excluded.hold_id, created_at = excluded.created_at;
    end if;
end $$;

-- Notes what became known about open calls: the generation id, that a look-up is due in so many seconds, or what the
-- answer seen so far comes to at least. '' and null stand for "nothing new". A row that somebody holds at this moment
-- is not waited for: it answers busy, so that no order of locks can deadlock with a settlement.
-- outcome: noted, busy, closed; unknown (there never was such a hold in these books).
create function billing_note_open_holds(
    p_company_ids uuid[], p_hold_ids uuid[], p_generation_ids text[], p_delays_s double precision[],
    p_estimates_usd numeric[]
) returns table (outcome text) language plpgsql security definer
set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    noted uuid[];
begin
    with free as (
        select o.company_id, o.hold_id
          from generate_series(1, cardinality(p_hold_ids)) as i
          join billing_open_hold o on (o.company_id, o.hold_id) = (p_company_ids[i], p_hold_ids[i])
           for update of o skip locked
    ), written as (
        update billing_open_hold o
           set generation_id = coalesce(o.generation_id, n.generation_id),
               stage = case when o.stage = 'held' and n.generation_id is not null then 'dispatched' else o.stage end,
               next_at = case when o.stage = 'parked' then null
                              else coalesce(clock_timestamp() + make_interval(secs => n.delay_s), o.next_at) end,
               -- It grows with what was seen; a note that comes late, or again from a spool, knows less.
               estimate_usd = greatest(n.estimate_usd, o.estimate_usd)
          from free f
          join (select p_company_ids[i] as company_id, p_hold_ids[i] as hold_id,
                       max(nullif(p_generation_ids[i], '')) as generation_id, min(p_delays_s[i]) as delay_s,
                       max(p_estimates_usd[i]) as estimate_usd
                  from generate_series(1, cardinality(p_hold_ids)) as i group by 1, 2) n using (company_id, hold_id)
         where (o.company_id, o.hold_id) = (f.company_id, f.hold_id)
        returning o.hold_id
    )
    select array_agg(hold_id) into noted from written;

    return query
    select case when p_hold_ids[i] = any (noted) then 'noted'
                when exists (select from billing_open_hold o
                              where (o.company_id, o.hold_id) = (p_company_ids[i], p_hold_ids[i])) then 'busy'
                when exists (select from billing_hold h
                              where (h.company_id, h.hold_id) = (p_company_ids[i], p_hold_ids[i])) then 'closed'
                else 'unknown' end
      from generate_series(1, cardinality(p_hold_ids)) as i order by i;
end $$;
