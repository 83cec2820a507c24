-- Second looks at settled calls: upstream's own record may have come, or changed, after the settlement.

-- Takes what is due, earliest first, for p_lease_s seconds; what another worker holds is passed over. source and
-- cost_usd are what stands today; age_s is since the settlement.
create function billing_claim_second_looks(p_limit integer, p_lease_s double precision) returns table (
    company_id uuid, hold_id uuid, generation_id text, number integer, markup numeric, credit_value_usd numeric,
    source text, cost_usd numeric, created_at timestamptz, age_s numeric, details jsonb
) language plpgsql security definer
set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    return query
    with due as materialized (
        select l.company_id, l.hold_id from billing_second_look l
         where l.next_at <= clock_timestamp() order by l.next_at limit p_limit for update skip locked
    ), claimed as (
        update billing_second_look l set next_at = clock_timestamp() + make_interval(secs => p_lease_s)
          from due where (l.company_id, l.hold_id) = (due.company_id, due.hold_id)
        returning l.*
    )
    select c.company_id, c.hold_id, c.generation_id, c.number, h.markup, h.credit_value_usd,
           coalesce(last.source, s.source), coalesce(last.cost_usd, s.cost_usd, 0), h.created_at,
           extract(epoch from clock_timestamp() - s.created_at), h.details
      from claimed c
      join billing_hold h on (h.company_id, h.hold_id) = (c.company_id, c.hold_id)
      join billing_settlement s on (s.company_id, s.hold_id) = (c.company_id, c.hold_id)
      left join lateral (select k.source, k.cost_usd from billing_correction k
                          where (k.company_id, k.hold_id) = (c.company_id, c.hold_id)
                          order by k.number desc limit 1) last on true
     order by s.created_at;
end $$;

-- This look is done. The next one is due so many seconds after the settlement, or, when that is null, there is none.
-- p_number is what the worker saw, so that two workers count one look once.
create function billing_second_look_done(
    p_company_id uuid, p_hold_id uuid, p_number integer, p_next_s double precision
) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if p_next_s is null then
        delete from billing_second_look l
         where (l.company_id, l.hold_id, l.number) = (p_company_id, p_hold_id, p_number);
        return found;
    end if;
    update billing_second_look l
       set number = l.number + 1,
           next_at = greatest(clock_timestamp(), s.created_at + make_interval(secs => p_next_s))
      from billing_settlement s
     where (l.company_id, l.hold_id, l.number) = (p_company_id, p_hold_id, p_number)
       and (s.company_id, s.hold_id) = (l.company_id, l.hold_id);
    return found;
end $$;

-- Upstream did not answer: the same look again in p_delay_s.
create function billing_second_look_again(
    p_company_id uuid, p_hold_id uuid, p_number integer, p_delay_s double precision
) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update billing_second_look l set next_at = clock_timestamp() + make_interval(secs => p_delay_s)
     where (l.company_id, l.hold_id, l.number) = (p_company_id, p_hold_id, p_number);
    return found;
end $$;
