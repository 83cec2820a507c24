-- Re-authorises running calls: many in one transaction, answered in the order they came; each all or nothing.
--
-- outcome: extended; already (this number before: amount_nanocredits is what it was then); closed (the hold is not
-- open); insufficient (limit_name is what was short: wallet, key_cap, user_cap); frozen.
create function billing_extend_holds(
    p_company_ids uuid[], p_hold_ids uuid[], p_numbers integer[], p_amounts bigint[]
) returns table (
    outcome text, limit_name text, amount_nanocredits bigint, available_nanocredits bigint,
    balance_nanocredits bigint, held_nanocredits bigint
) language plpgsql security definer
set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    rows_asked constant integer := cardinality(p_hold_ids);
    now_at timestamptz;
    wallet_ids uuid[]; balances bigint[]; helds bigint[]; floors bigint[]; frozens boolean[]; at integer;
    are_open boolean[]; capped boolean[]; befores bigint[]; slots integer[];
    cap_rows integer[]; cap_slots integer[]; cap_names text[]; cap_limits bigint[]; cap_used bigint[];
    first_cap integer; next_cap integer := 1; room bigint;
    grants bigint[] := '{}';
begin
    -- As everywhere: wallets first, by id. The lock covers the company's budgets, and keeps its open holds open.
    select array_agg(w.company_id), array_agg(w.posted_nanocredits), array_agg(w.held_nanocredits),
           array_agg(w.floor_nanocredits), array_agg(w.frozen)
      into wallet_ids, balances, helds, floors, frozens
      from (select * from billing_wallet where company_id = any (p_company_ids)
             order by company_id for no key update) w;
    now_at := billing_now();

    -- Rows of this batch with one number of one hold share a slot: the place of the first of them.
    select array_agg(o.hold_id is not null order by i), array_agg(h.caps is not null order by i),
           array_agg(e.amount_nanocredits order by i), array_agg(slot order by i)
      into are_open, capped, befores, slots
      from (select i, min(i) over (partition by p_company_ids[i], p_hold_ids[i], p_numbers[i]) as slot
              from generate_series(1, rows_asked) as i) asked
      left join billing_open_hold o on (o.company_id, o.hold_id) = (p_company_ids[i], p_hold_ids[i])
      left join billing_hold h on (h.company_id, h.hold_id) = (o.company_id, o.hold_id)
      left join billing_hold_extension e
             on (e.company_id, e.hold_id, e.number) = (p_company_ids[i], p_hold_ids[i], p_numbers[i]);

    if true = any (capped) then
        -- Caps of several rows on one budget share a slot of cap_used, as in billing_place_holds.
        with asked as (
            select i, c.scope, c.scope_id, billing_cap_period(c.period, c.scope, c.period_start) as period,
                   c.period_start, c."limit", h.company_id, row_number() over (order by i) as place
              from generate_series(1, rows_asked) as i
              join billing_hold h on (h.company_id, h.hold_id) = (p_company_ids[i], p_hold_ids[i]),
                   jsonb_to_recordset(h.caps)
                   as c (scope text, scope_id uuid, period text, period_start date, "limit" bigint)
             where capped[i]
        ), slotted as (
            select a.*, b.spent_nanocredits + b.held_nanocredits as used,
                   min(a.place) over (partition by a.company_id, a.scope, a.scope_id, a.period, a.period_start) as slot
              from asked a left join billing_budget b using (company_id, scope, scope_id, period, period_start)
        )
        select array_agg(i order by place), array_agg(slot order by place), array_agg(scope || '_cap' order by place),
               array_agg("limit" order by place), array_agg(used order by place)
          into cap_rows, cap_slots, cap_names, cap_limits, cap_used
          from slotted;
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

        amount_nanocredits := coalesce(befores[i], grants[slots[i]], p_amounts[i]);
        outcome := case when not are_open[i] then 'closed'
                        when befores[i] is not null or grants[slots[i]] is not null then 'already'
                        when frozens[at] then 'frozen'
                        when available_nanocredits < p_amounts[i] then 'insufficient'
                        else 'extended' end;
        if outcome = 'extended' then
            -- A second row with this number finds it in the first one's place.
            grants[slots[i]] := p_amounts[i];
            helds[at] := helds[at] + p_amounts[i];
            for cap in first_cap .. next_cap - 1 loop
                cap_used[cap_slots[cap]] := cap_used[cap_slots[cap]] + p_amounts[i];
            end loop;
        end if;
        balance_nanocredits := balances[at];
        held_nanocredits := helds[at];
        return next;
    end loop;

    insert into billing_hold_extension (company_id, hold_id, number, amount_nanocredits, created_at)
    select p_company_ids[i], p_hold_ids[i], p_numbers[i], grants[i], now_at
      from generate_series(1, rows_asked) as i where grants[i] is not null;

    update billing_open_hold o set amount_nanocredits = o.amount_nanocredits + t.amount
      from (select p_company_ids[i] as company_id, p_hold_ids[i] as hold_id, sum(grants[i]) as amount
              from generate_series(1, rows_asked) as i where grants[i] is not null group by 1, 2) t
     where (o.company_id, o.hold_id) = (t.company_id, t.hold_id);

    update billing_wallet w set held_nanocredits = helds[array_position(wallet_ids, w.company_id)]
     where w.company_id = any (wallet_ids)
       and w.held_nanocredits <> helds[array_position(wallet_ids, w.company_id)];

    if cap_rows is not null then
        update billing_budget b set held_nanocredits = b.held_nanocredits + t.amount
          from (select h.company_id, c.scope, c.scope_id, c.period_start,
                       billing_cap_period(c.period, c.scope, c.period_start) as period, sum(grants[i]) as amount
                  from generate_series(1, rows_asked) as i
                  join billing_hold h on (h.company_id, h.hold_id) = (p_company_ids[i], p_hold_ids[i]),
                       jsonb_to_recordset(h.caps) as c (scope text, scope_id uuid, period text, period_start date)
                 where grants[i] is not null group by 1, 2, 3, 4, 5) t
         where (b.company_id, b.scope, b.scope_id, b.period, b.period_start)
             = (t.company_id, t.scope, t.scope_id, t.period, t.period_start);
    end if;
end $$;
