-- A person's word on evidence the books refused to act on, once per anomaly, and what follows from it.
--
-- charge: the cost given is what the call costs; an open hold is settled with it, a settled call corrected.
-- void: the evidence is rejected; a parked hold, which waits for nothing else, is given back. A call that still goes
-- its own way, and one that is settled, stay as they are.
-- outcome: decided; already (the same decision before); conflict (another one before); unknown; no_call (a
-- charge where there is no call to charge). decision and what follows are what stands.
create function billing_carry_out(
    p_kind text, p_reference text, p_decision text, p_actor text, p_reason text, p_cost_usd numeric, p_charged bigint,
    out outcome text, out decision text, out cost_usd numeric, out actor text, out reason text,
    out created_at timestamptz, out charged_nanocredits bigint
) language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
declare
    anomaly billing_anomaly;
    open_hold billing_open_hold;
    standing record;
    name text;
    done text;
begin
    select * into anomaly from billing_anomaly a where (a.kind, a.reference) = (p_kind, p_reference);
    if anomaly.kind is null then
        outcome := 'unknown';
        return;
    end if;
    -- Whatever moves a company's money locks its wallet first.
    perform 1 from billing_wallet w where w.company_id = anomaly.company_id for no key update;
    select * into open_hold from billing_open_hold o
     where (o.company_id, o.hold_id) = (anomaly.company_id, anomaly.hold_id);
    select * into standing from billing_standing(anomaly.company_id, anomaly.hold_id);
    if p_decision = 'charge' and open_hold.hold_id is null and standing.source is null then
        outcome := 'no_call';
        return;
    end if;

    outcome := billing_decide(p_kind, p_reference, p_decision, p_actor, p_reason, p_cost_usd);
    select d.decision, d.cost_usd, d.actor, d.reason, d.created_at
      into decision, cost_usd, actor, reason, created_at
      from billing_decision d where (d.kind, d.reference) = (p_kind, p_reference);
    if outcome <> 'decided' then
        charged_nanocredits := standing.charged_nanocredits;
        return;
    end if;

    name := 'decision:' || left(p_kind, 40) || ':' || md5(p_reference);
    if open_hold.stage = 'parked' or (open_hold.hold_id is not null and p_decision = 'charge') then
        select s.outcome, s.charged_nanocredits into done, charged_nanocredits from billing_settle(
            array[anomaly.company_id], array[anomaly.hold_id],
            array[case p_decision when 'charge' then 'post' else 'void' end],
            array[coalesce(p_cost_usd, 0)], array[case p_decision when 'charge' then p_charged else 0 end],
            array['operator'],
            -- The generation this call is known by, unless that is another call's.
            array[case when exists (select from billing_settlement s where s.generation_id = open_hold.generation_id)
                         or exists (select from billing_correction c where c.generation_id = open_hold.generation_id)
                       then '' else coalesce(open_hold.generation_id, '') end],
            array[jsonb_build_object('decision', p_decision, 'anomaly', p_kind, 'reference', p_reference)]) s;
    elsif p_decision = 'charge' then
        select c.outcome, c.charged_nanocredits into done, charged_nanocredits from billing_correct(
            anomaly.company_id, anomaly.hold_id, name, p_cost_usd, p_charged, 'operator', null, p_reason, p_actor) c;
    else
        charged_nanocredits := standing.charged_nanocredits;
    end if;
    if done not in ('posted', 'corrected', 'unchanged') then
        raise exception 'the decision on % % could not be carried out: %', p_kind, p_reference, done
              using errcode = '22023';
    end if;
end $$;
