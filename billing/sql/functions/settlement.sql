-- How much the word of a source is worth: less is better, and a person is believed before all.
create function billing_rank(p_source text) returns integer
language sql immutable security definer set search_path = public, pg_temp as $$
    select array_position(array[
        'operator', 'inline', 'stream', 'generation', 'broadcast', 'estimate', 'no_evidence'], p_source)
$$;

-- What a settled call costs today and on whose word: its last correction's, or its settlement's. Nulls: not settled.
create function billing_standing(
    p_company_id uuid, p_hold_id uuid, out charged_nanocredits bigint, out source text, out corrections integer,
    out cost_usd numeric
) language sql stable security definer set search_path = public, pg_temp as $$
    select coalesce(last.charged_nanocredits, s.charged_nanocredits), coalesce(last.source, s.source),
           coalesce(last.number, 0), coalesce(last.cost_usd, s.cost_usd, 0)
      from billing_settlement s
      left join lateral (select * from billing_correction c where (c.company_id, c.hold_id) = (s.company_id, s.hold_id)
                          order by c.number desc limit 1) last on true
     where (s.company_id, s.hold_id) = (p_company_id, p_hold_id)
$$;

-- The name of a piece of evidence on billing_anomaly: the same twice is one row, another one a row of its own.
create function billing_evidence_reference(
    p_hold_id uuid, p_kind text, p_cost_usd numeric, p_charged bigint, p_source text, p_generation_id text,
    p_details jsonb
) returns text language sql immutable security definer set search_path = public, pg_temp as $$
    select concat_ws(':', 'gen_' || p_hold_id, p_source, nullif(p_generation_id, ''),
                     case p_kind when 'post' then p_cost_usd || ' USD' when 'void' then 'void'
                                 else coalesce(p_details ->> 'cost_usd', 'no cost') end,
                     nullif(p_charged, 0))
$$;

create function billing_evidence_details(
    p_kind text, p_cost_usd numeric, p_charged bigint, p_source text, p_generation_id text, p_details jsonb,
    p_charged_before bigint
) returns jsonb language sql immutable security definer set search_path = public, pg_temp as $$
    select jsonb_build_object(
        'kind', p_kind, 'cost_usd', p_cost_usd::text, 'charged_nanocredits', p_charged::text, 'source', p_source,
        'generation_id', p_generation_id, 'details', p_details, 'charged_before_nanocredits', p_charged_before::text)
$$;

-- What becomes of a row that settled nothing: billing_settle's answers other than `posted`, and what is to go on
-- billing_anomaly, or null. p_reason is null where the hold is not open.
--
-- Better evidence for a settled call corrects it. A void only takes back what a stand-in said: against the cost that
-- some record names, "it cost nothing" is a matter for a person.
create function billing_refuse_settlement(
    p_company_id uuid, p_hold_id uuid, p_reason text, p_kind text, p_cost_usd numeric, p_charged bigint,
    p_source text, p_generation_id text,
    out outcome text, out charged_nanocredits bigint, out anomaly text
) language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
declare
    standing record;
begin
    select * into standing from billing_standing(p_company_id, p_hold_id);
    if standing.source is null then
        outcome := case when p_reason is null then 'unknown_hold' else 'quarantined' end;
        anomaly := coalesce(p_reason, 'unknown_hold');
        update billing_open_hold o set stage = 'parked', next_at = null
         where (o.company_id, o.hold_id) = (p_company_id, p_hold_id);
        return;
    end if;
    outcome := 'already';
    charged_nanocredits := standing.charged_nanocredits;
    if p_kind <> 'quarantine' and billing_rank(p_source) < billing_rank(standing.source)
       and (p_kind = 'post' or p_source = 'operator' or standing.source in ('estimate', 'no_evidence')) then
        select c.anomaly, c.charged_nanocredits into anomaly, charged_nanocredits
          from billing_correct_call(p_company_id, p_hold_id, concat_ws(':', p_source, nullif(p_generation_id, '')),
                                    case p_kind when 'post' then p_cost_usd else 0 end, p_charged, p_source,
                                    p_generation_id, '', '') c;
    elsif p_kind = 'quarantine' or p_charged <> standing.charged_nanocredits then
        anomaly := 'settled_differently';
    end if;
end $$;

-- Waits for everybody who writes one of these generation ids, until the end of the transaction: two tables have them,
-- and the unique index of each says nothing of the other. Asked for after the wallets and in the order of the keys, so
-- that nobody waits in a circle; ids that share a key by chance wait once too often.
create function billing_lock_generations(p_generation_ids text[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    perform pg_advisory_xact_lock(wanted.key)
       from (select distinct hashtextextended(id, 0) as key from unnest(p_generation_ids) as id where id <> ''
              order by key) wanted;
end $$;

-- The only way out of a hold. Many rows in one transaction, answered in the order they came.
--
-- kind: post (charge cost_usd), void (it cost nothing), quarantine (the evidence is no amount of money at all).
-- '' stands for no generation id. Where the evidence did not come with the answer, the call's record is looked at
-- again in p_second_look_s, unless that is null. outcome:
--   posted        this row settled the hold
--   already       another did before; charged_nanocredits is what the call costs now: better evidence corrected it
--   quarantined   the evidence went to billing_anomaly; the hold stays and waits for a person
--   unknown_hold  there never was such a hold; on billing_anomaly too
create function billing_settle(
    p_company_ids uuid[], p_hold_ids uuid[], p_kinds text[], p_costs_usd numeric[], p_charges bigint[],
    p_sources text[], p_generation_ids text[], p_details jsonb[], p_second_look_s double precision default null
) returns table (
    outcome text, charged_nanocredits bigint, balance_nanocredits bigint, held_nanocredits bigint
) language plpgsql security definer
set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    rows_asked constant integer := cardinality(p_hold_ids);
    now_at timestamptz;
    wallet_ids uuid[]; balances bigint[]; helds bigint[]; versions bigint[]; heads bytea[]; at integer;
    amounts bigint[]; reasons text[]; firsts boolean[]; capped boolean[]; any_capped boolean := false;
    any_second_look boolean := false;
    anomaly text; anomalies text[] := '{}'; charges_before bigint[] := '{}';
    posted boolean[] := '{}'; seqs bigint[] := '{}'; hashes bytea[] := '{}';
    balances_after bigint[] := '{}'; helds_after bigint[] := '{}';
begin
    select array_agg(w.company_id), array_agg(w.posted_nanocredits), array_agg(w.held_nanocredits),
           array_agg(w.version), array_agg(w.chain_head)
      into wallet_ids, balances, helds, versions, heads
      from (select * from billing_wallet where company_id = any (p_company_ids)
             order by company_id for no key update) w;

    perform billing_lock_generations(p_generation_ids);

    -- One instant for the whole batch, read under the locks: a company's entries never go back in time.
    now_at := billing_now();

    -- Under the wallet's lock an open hold stays open: what is read here is true until the end. Of the rows for one
    -- hold the first that nothing speaks against settles it.
    select array_agg(amount order by i), array_agg(is_capped order by i), array_agg(reason order by i),
           array_agg(place = 1 order by i)
      into amounts, capped, reasons, firsts
      from (select *, row_number() over (partition by company_id, hold_id, reason is null order by i) as place
              from (select i, p_company_ids[i] as company_id, p_hold_ids[i] as hold_id, o.amount_nanocredits as amount,
                           h.caps is not null as is_capped, case
               when s.hold_id is not null or c.hold_id is not null then 'generation_conflict'
               when p_kinds[i] = 'void' then case when p_charges[i] <> 0 then 'charge_mismatch' end
               when p_kinds[i] = 'quarantine' or not p_costs_usd[i] between 0 and 1000
                 or (h.is_price_known and p_charges[i] > 20 * o.amount_nanocredits::numeric and o.amount_nanocredits > 0
                     and p_sources[i] <> 'operator') then 'implausible_cost'
               -- The one rounding, checked from its other side: no whole nanocredit less would do.
               when p_charges[i] * h.credit_value_usd < p_costs_usd[i] * h.markup * 1000000000
                 or (p_charges[i] - 1) * h.credit_value_usd >= p_costs_usd[i] * h.markup * 1000000000
                 then 'charge_mismatch' end as reason
                      from generate_series(1, rows_asked) as i
                      left join billing_open_hold o on (o.company_id, o.hold_id) = (p_company_ids[i], p_hold_ids[i])
                      left join billing_hold h on (h.company_id, h.hold_id) = (o.company_id, o.hold_id)
                      left join billing_settlement s on s.generation_id = nullif(p_generation_ids[i], '')
                      left join billing_correction c on c.generation_id = nullif(p_generation_ids[i], '')
                   ) judged) placed;

    for i in 1 .. rows_asked loop
        at := array_position(wallet_ids, p_company_ids[i]);
        posted[i] := amounts[i] is not null and reasons[i] is null and firsts[i];
        if posted[i] then
            any_capped := any_capped or capped[i];
            any_second_look := any_second_look or p_sources[i] in ('generation', 'broadcast', 'estimate');
            helds[at] := helds[at] - amounts[i];
            if p_charges[i] > 0 then
                balances[at] := balances[at] - p_charges[i];
                versions[at] := versions[at] + 1;
                seqs[i] := versions[at];
                heads[at] := billing_entry_hash(
                    heads[at], p_company_ids[i], versions[at], 'llm_call', -p_charges[i], 'revenue', balances[at],
                    now_at, 'gen_' || p_hold_ids[i], '', '', '');
                hashes[i] := heads[at];
            end if;
        end if;
        balances_after[i] := balances[at];
        helds_after[i] := helds[at];
    end loop;

    insert into billing_settlement (company_id, hold_id, kind, cost_usd, charged_nanocredits, source,
                                    generation_id, details, created_at)
    select p_company_ids[i], p_hold_ids[i], p_kinds[i], case when p_kinds[i] = 'post' then p_costs_usd[i] end,
           p_charges[i], p_sources[i], nullif(p_generation_ids[i], ''), p_details[i], now_at
      from generate_series(1, rows_asked) as i where posted[i];

    insert into billing_entry (company_id, seq, action, reference, amount_nanocredits, counter_account,
                               balance_after_nanocredits, created_at, hash)
    select p_company_ids[i], seqs[i], 'llm_call', 'gen_' || p_hold_ids[i], -p_charges[i], 'revenue',
           balances_after[i], now_at, hashes[i]
      from generate_series(1, rows_asked) as i where seqs[i] is not null;

    -- No other transaction writes a usage row of these companies, so that no order of them can deadlock.
    insert into billing_usage as u (
           company_id, hour, tenant_user_id, key_id, kit_id, model, calls, voided_calls, tokens_prompt,
           tokens_completion, cost_usd, charged_nanocredits, held_nanocredits, overrun_nanocredits)
    select h.company_id, date_trunc('hour', now_at, 'UTC'), h.tenant_user_id, h.key_id, h.kit_id,
           billing_usage_model(p_details[i], h.details),
           count(*) filter (where p_kinds[i] = 'post'), count(*) filter (where p_kinds[i] <> 'post'),
           coalesce(sum(billing_usage_tokens(p_details[i], 'tokens_prompt'))
                    filter (where p_kinds[i] = 'post'), 0),
           coalesce(sum(billing_usage_tokens(p_details[i], 'tokens_completion'))
                    filter (where p_kinds[i] = 'post'), 0),
           coalesce(sum(p_costs_usd[i]) filter (where p_kinds[i] = 'post'), 0), sum(p_charges[i]),
           coalesce(sum(amounts[i]) filter (where p_kinds[i] = 'post'), 0), sum(greatest(p_charges[i] - amounts[i], 0))
      from generate_series(1, rows_asked) as i
      join billing_hold h on (h.company_id, h.hold_id) = (p_company_ids[i], p_hold_ids[i])
     where posted[i] group by 1, 2, 3, 4, 5, 6
        on conflict (company_id, hour, tenant_user_id, key_id, kit_id, model) do update
       set calls = u.calls + excluded.calls, voided_calls = u.voided_calls + excluded.voided_calls,
           tokens_prompt = u.tokens_prompt + excluded.tokens_prompt,
           tokens_completion = u.tokens_completion + excluded.tokens_completion,
           cost_usd = u.cost_usd + excluded.cost_usd,
           charged_nanocredits = u.charged_nanocredits + excluded.charged_nanocredits,
           held_nanocredits = u.held_nanocredits + excluded.held_nanocredits,
           overrun_nanocredits = u.overrun_nanocredits + excluded.overrun_nanocredits;

    if any_second_look and p_second_look_s is not null then
        insert into billing_second_look (company_id, hold_id, generation_id, number, next_at)
        select p_company_ids[i], p_hold_ids[i], coalesce(nullif(p_generation_ids[i], ''), o.generation_id), 1,
               now_at + make_interval(secs => p_second_look_s)
          from generate_series(1, rows_asked) as i
          join billing_open_hold o on (o.company_id, o.hold_id) = (p_company_ids[i], p_hold_ids[i])
         where posted[i] and p_sources[i] in ('generation', 'broadcast', 'estimate')
           and coalesce(nullif(p_generation_ids[i], ''), o.generation_id) is not null;
    end if;

    delete from billing_open_hold o using generate_series(1, rows_asked) as i
     where posted[i] and (o.company_id, o.hold_id) = (p_company_ids[i], p_hold_ids[i]);

    update billing_wallet w
       set posted_nanocredits = balances[n], held_nanocredits = helds[n], version = versions[n], chain_head = heads[n]
      from generate_subscripts(wallet_ids, 1) as n
     where w.company_id = wallet_ids[n] and (w.held_nanocredits <> helds[n] or w.version <> versions[n]);

    if any_capped then
        update billing_budget b set held_nanocredits = b.held_nanocredits - t.amount,
                                    spent_nanocredits = b.spent_nanocredits + t.charged
          from (select h.company_id, c.scope, c.scope_id, c.period_start,
                       billing_cap_period(c.period, c.scope, c.period_start) as period, sum(amounts[i]) as amount,
                       sum(p_charges[i]) as charged
                  from generate_series(1, rows_asked) as i
                  join billing_hold h on (h.company_id, h.hold_id) = (p_company_ids[i], p_hold_ids[i]),
                       jsonb_to_recordset(h.caps) as c (scope text, scope_id uuid, period text, period_start date)
                 where posted[i] group by 1, 2, 3, 4, 5) t
         where (b.company_id, b.scope, b.scope_id, b.period, b.period_start)
             = (t.company_id, t.scope, t.scope_id, t.period, t.period_start);
    end if;

    for i in 1 .. rows_asked loop
        balance_nanocredits := balances_after[i];
        held_nanocredits := helds_after[i];
        if posted[i] then
            outcome := 'posted';
            charged_nanocredits := p_charges[i];
        else
            select r.* into outcome, charged_nanocredits, anomaly from billing_refuse_settlement(
                p_company_ids[i], p_hold_ids[i], case when amounts[i] is not null then reasons[i] end, p_kinds[i],
                p_costs_usd[i], p_charges[i], p_sources[i], p_generation_ids[i]) r;
            anomalies[i] := anomaly;
            charges_before[i] := charged_nanocredits;
            -- A correction has moved the wallet since.
            select w.posted_nanocredits, w.held_nanocredits into balance_nanocredits, held_nanocredits
              from billing_wallet w where w.company_id = p_company_ids[i];
        end if;
        return next;
    end loop;

    -- In one order: two batches with the same news must not wait for each other.
    insert into billing_anomaly (kind, reference, company_id, hold_id, details, created_at)
    select anomalies[i],
           billing_evidence_reference(p_hold_ids[i], p_kinds[i], p_costs_usd[i], p_charges[i], p_sources[i],
                                      p_generation_ids[i], p_details[i]),
           p_company_ids[i], p_hold_ids[i],
           billing_evidence_details(p_kinds[i], p_costs_usd[i], p_charges[i], p_sources[i], p_generation_ids[i],
                                    p_details[i], charges_before[i]), now_at
      from generate_series(1, rows_asked) as i where anomalies[i] is not null
     order by 1, 2 on conflict do nothing;
end $$;
