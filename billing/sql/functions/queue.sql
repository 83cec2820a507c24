-- The work queue of open holds. Only this clock decides when a call is looked up.

-- Takes what is due, earliest first, for p_lease_s seconds; what another worker holds is passed over.
-- amount_nanocredits is what is held by now, extensions included; age_s is since the hold was placed.
create function billing_claim_due(p_limit integer, p_lease_s double precision) returns table (
    company_id uuid, hold_id uuid, key_id uuid, kit_id uuid, tenant_user_id uuid, amount_nanocredits bigint,
    markup numeric, credit_value_usd numeric, generation_id text, stage text, attempts integer,
    created_at timestamptz, is_expired boolean, age_s numeric, estimate_usd numeric, details jsonb
) language plpgsql security definer
set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    return query
    with due as materialized (
        select o.company_id, o.hold_id from billing_open_hold o
         where o.next_at <= clock_timestamp() order by o.next_at limit p_limit for update skip locked
    ), claimed as (
        update billing_open_hold o set next_at = clock_timestamp() + make_interval(secs => p_lease_s)
          from due where (o.company_id, o.hold_id) = (due.company_id, due.hold_id)
        returning o.*
    )
    select c.company_id, c.hold_id, h.key_id, h.kit_id, h.tenant_user_id, c.amount_nanocredits, h.markup,
           h.credit_value_usd, c.generation_id, c.stage, c.attempts, c.created_at,
           c.created_at + make_interval(secs => h.ttl_s) <= clock_timestamp(),
           extract(epoch from clock_timestamp() - c.created_at), c.estimate_usd, h.details
      from claimed c join billing_hold h on (h.company_id, h.hold_id) = (c.company_id, c.hold_id)
     order by c.created_at;
end $$;

-- A look-up found nothing: the next one is due in p_delay_s, or, when that is null, a person decides, who finds it
-- among the anomalies.
-- p_attempts is what the worker saw, so that two workers count one look-up once.
create function billing_look_up_later(
    p_company_id uuid, p_hold_id uuid, p_attempts integer, p_delay_s double precision
) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
declare
    seen billing_open_hold;
begin
    update billing_open_hold o
       set attempts = o.attempts + 1,
           stage = case when p_delay_s is null then 'parked' else o.stage end,
           next_at = clock_timestamp() + make_interval(secs => p_delay_s)
     where (o.company_id, o.hold_id, o.attempts) = (p_company_id, p_hold_id, p_attempts) and o.stage <> 'parked'
    returning o.* into seen;
    if seen.stage = 'parked' then
        perform billing_quarantine(
            'no_record', 'gen_' || p_hold_id, p_company_id, p_hold_id,
            jsonb_build_object('generation_id', seen.generation_id, 'attempts', seen.attempts,
                               'estimate_usd', seen.estimate_usd::text));
    end if;
    return seen.hold_id is not null;
end $$;

-- Upstream did not answer a look-up, which is no evidence: the same one again in p_delay_s.
create function billing_look_up_again(
    p_company_id uuid, p_hold_id uuid, p_attempts integer, p_delay_s double precision
) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update billing_open_hold o set next_at = clock_timestamp() + make_interval(secs => p_delay_s)
     where (o.company_id, o.hold_id, o.attempts) = (p_company_id, p_hold_id, p_attempts) and o.stage <> 'parked';
    return found;
end $$;

-- A look-up was answered with what is not this call's: it waits for a person, and the anomaly says why. False, and
-- nothing done, when somebody counted this look-up already or the hold is settled.
create function billing_quarantine_claimed(
    p_company_id uuid, p_hold_id uuid, p_attempts integer, p_kind text, p_details jsonb
) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update billing_open_hold o set attempts = o.attempts + 1, stage = 'parked', next_at = null
     where (o.company_id, o.hold_id, o.attempts) = (p_company_id, p_hold_id, p_attempts) and o.stage <> 'parked';
    if not found then
        return false;
    end if;
    perform billing_quarantine(p_kind, 'gen_' || p_hold_id, p_company_id, p_hold_id, p_details);
    return true;
end $$;

-- A hold that outlived its time and of which nothing was ever heard is given back, at the second look: the first
-- one leaves p_grace_s for a generation id that still sits in some spool.
-- p_attempts is what the worker saw, so that two workers with one claim are one look.
-- outcome: voided, waiting, kept (it is not such a hold, or somebody looked already).
create function billing_void_unsent(
    p_company_id uuid, p_hold_id uuid, p_attempts integer, p_grace_s double precision
) returns text language plpgsql security definer set search_path = public, pg_temp as $$
declare
    seen billing_open_hold;
begin
    perform 1 from billing_wallet w where w.company_id = p_company_id for no key update;
    select o.* into seen from billing_open_hold o
      join billing_hold h on (h.company_id, h.hold_id) = (o.company_id, o.hold_id)
     where (o.company_id, o.hold_id, o.attempts) = (p_company_id, p_hold_id, p_attempts)
       and o.stage = 'held' and o.generation_id is null
       and o.created_at + make_interval(secs => h.ttl_s) <= clock_timestamp()
       for update of o;
    if seen.hold_id is null then
        return 'kept';
    end if;
    if seen.attempts = 0 then
        update billing_open_hold o
           set attempts = 1, next_at = clock_timestamp() + make_interval(secs => p_grace_s)
         where (o.company_id, o.hold_id) = (p_company_id, p_hold_id);
        return 'waiting';
    end if;
    perform billing_settle(array[p_company_id], array[p_hold_id], array['void'], array[0::numeric], array[0::bigint],
                           array['no_evidence'], array[''], array['{}'::jsonb]);
    return 'voided';
end $$;

-- Removes claims that nobody can meet any more: a day old, and their holds closed. Returns how many.
create function billing_forget_claims(p_limit integer) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    forgotten integer;
begin
    delete from billing_idempotency c
     where (c.company_id, c.key_sha256) in (
           select old.company_id, old.key_sha256 from billing_idempotency old
            where old.created_at < clock_timestamp() - interval '24 hours'
              and not exists (select from billing_open_hold o
                               where (o.company_id, o.hold_id) = (old.company_id, old.hold_id))
            order by old.created_at limit p_limit for update skip locked);
    get diagnostics forgotten = row_count;
    return forgotten;
end $$;
