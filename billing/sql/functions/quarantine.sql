-- What a person must look at, and what that person decided.

-- Puts evidence before a person, once per (kind, reference); the call it is about goes its way. True when this is new.
create function billing_quarantine(
    p_kind text, p_reference text, p_company_id uuid, p_hold_id uuid, p_details jsonb
) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into billing_anomaly (kind, reference, company_id, hold_id, details, created_at)
    values (p_kind, p_reference, p_company_id, p_hold_id, p_details, billing_now()) on conflict do nothing;
    return found;
end $$;

-- Writes down what a person decided about an anomaly; acting on it is the caller's, in the same transaction.
-- outcome: decided; already (the same before); conflict (otherwise before); unknown (no such anomaly).
create function billing_decide(
    p_kind text, p_reference text, p_decision text, p_actor text, p_reason text, p_cost_usd numeric
) returns text language plpgsql security definer set search_path = public, pg_temp as $$
declare
    before billing_decision;
begin
    if not exists (select from billing_anomaly a where (a.kind, a.reference) = (p_kind, p_reference)) then
        return 'unknown';
    end if;
    insert into billing_decision (kind, reference, decision, actor, reason, cost_usd, created_at)
    values (p_kind, p_reference, p_decision, p_actor, p_reason, p_cost_usd, billing_now()) on conflict do nothing;
    if found then
        return 'decided';
    end if;
    select * into strict before from billing_decision d where (d.kind, d.reference) = (p_kind, p_reference);
    return case when before.decision = p_decision and before.cost_usd is not distinct from p_cost_usd
                then 'already' else 'conflict' end;
end $$;
