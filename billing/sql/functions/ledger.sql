-- A wallet for a company that has none; the second time nothing happens.
create function billing_open_wallet(p_company_id uuid) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into billing_wallet (company_id, created_at) values (p_company_id, billing_now()) on conflict do nothing;
    return found;
end $$;

-- A frozen wallet places no hold; what is open settles as ever. Null leaves a value as it is.
create function billing_set_wallet(p_company_id uuid, p_frozen boolean, p_floor_nanocredits bigint) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update billing_wallet w set frozen = coalesce(p_frozen, w.frozen),
                                floor_nanocredits = coalesce(p_floor_nanocredits, w.floor_nanocredits)
     where w.company_id = p_company_id;
    return found;
end $$;

-- Writes one line of the ledger, under the wallet's lock, and chains it. Not for callers: it knows no idempotency.
-- The other side of an entry follows from its action.
create function billing_append_entry(
    p_company_id uuid, p_action text, p_reference text, p_amount bigint, p_note text, p_actor text, p_corrects text
) returns billing_entry language plpgsql security definer set search_path = public, pg_temp as $$
declare
    wallet billing_wallet;
    entry billing_entry;
begin
    select * into strict wallet from billing_wallet w where w.company_id = p_company_id for no key update;
    entry.company_id := p_company_id;
    entry.seq := wallet.version + 1;
    entry.action := p_action;
    entry.reference := p_reference;
    entry.amount_nanocredits := p_amount;
    entry.counter_account := case p_action when 'grant' then 'promo' when 'credit_topup' then 'cash'
                                           when 'chargeback' then 'cash' else 'revenue' end;
    entry.balance_after_nanocredits := wallet.posted_nanocredits + p_amount;
    entry.note := p_note;
    entry.actor := p_actor;
    entry.corrects := p_corrects;
    entry.created_at := billing_now();
    entry.hash := billing_entry_hash(
        wallet.chain_head, entry.company_id, entry.seq, entry.action, entry.amount_nanocredits, entry.counter_account,
        entry.balance_after_nanocredits, entry.created_at, entry.reference, entry.note, entry.actor, entry.corrects);
    insert into billing_entry select entry.*;
    update billing_wallet w set posted_nanocredits = entry.balance_after_nanocredits, version = entry.seq,
                                chain_head = entry.hash
     where w.company_id = p_company_id;
    return entry;
end $$;

-- Whether a balance may stand in the books: far enough inside a bigint that nothing added to it overflows.
create function billing_is_in_range(p_balance numeric) returns boolean
language sql immutable security definer set search_path = public, pg_temp as $$
    select abs(p_balance) <= 4000000000000000000
$$;

-- Whether this company's ledger has something that p_reference names: an entry, or a call's corrections. The end of
-- the range is the letter after the colon: what a call's corrections are called begins with its name and a colon.
create function billing_has_entry(p_company_id uuid, p_reference text) returns boolean
language sql stable security definer set search_path = public, pg_temp as $$
    select exists (
        select from billing_entry e
         where e.company_id = p_company_id and e.reference = p_reference
           and e.action in ('llm_call', 'credit_topup', 'grant', 'refund', 'correction', 'chargeback'))
        or exists (
        select from billing_entry e
         where e.company_id = p_company_id and e.action = 'correction'
           and e.reference >= p_reference || ':' and e.reference < p_reference || ';')
$$;

-- Money that moves for another reason than a call; once per (company, action, reference).
-- outcome: posted; already (the same amount before); conflict (another amount before); no_wallet; out_of_range
-- (the balance it would make); nothing_to_correct (no entry is called p_corrects).
create function billing_post_entry(
    p_company_id uuid, p_action text, p_reference text, p_amount bigint, p_note text, p_actor text default '',
    p_corrects text default ''
) returns table (outcome text, seq bigint, amount_nanocredits bigint, balance_after_nanocredits bigint)
language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
declare
    wallet billing_wallet;
    entry billing_entry;
begin
    if p_action = 'llm_call' then
        raise exception 'llm_call entries are written by billing_settle' using errcode = '22023';
    end if;
    if p_action = 'correction' and p_reference like 'gen\_%' then
        raise exception 'corrections of a call are written by billing_correct' using errcode = '22023';
    end if;
    select * into wallet from billing_wallet w where w.company_id = p_company_id for no key update;
    if wallet.company_id is null then
        return query select 'no_wallet', null::bigint, null::bigint, null::bigint;
        return;
    end if;
    select * into entry from billing_entry e
     where (e.company_id, e.action, e.reference) = (p_company_id, p_action, p_reference);
    if entry.seq is not null then
        outcome := case when entry.amount_nanocredits = p_amount then 'already' else 'conflict' end;
    elsif not billing_is_in_range(wallet.posted_nanocredits::numeric + p_amount) then
        outcome := 'out_of_range';
    elsif p_corrects <> '' and not billing_has_entry(p_company_id, p_corrects) then
        outcome := 'nothing_to_correct';
    else
        entry := billing_append_entry(p_company_id, p_action, p_reference, p_amount, p_note, p_actor, p_corrects);
        outcome := 'posted';
    end if;
    return query select outcome, entry.seq, entry.amount_nanocredits, entry.balance_after_nanocredits;
end $$;

-- What a call had set aside for it in the end: its hold and the extensions.
create function billing_held_in_all(p_company_id uuid, p_hold_id uuid) returns bigint
language sql stable security definer set search_path = public, pg_temp as $$
    select h.amount_nanocredits + coalesce((
               select sum(e.amount_nanocredits) from billing_hold_extension e
                where (e.company_id, e.hold_id) = (h.company_id, h.hold_id)), 0)::bigint
      from billing_hold h where (h.company_id, h.hold_id) = (p_company_id, p_hold_id)
$$;

-- Computes a settled call's whole charge again and posts the difference, under the wallet's lock; whose evidence is
-- good enough is the caller's question. outcome: corrected; unchanged (noted, the charge is the same); quarantined,
-- for the reason in `anomaly`. charged_nanocredits is what the call costs after it.
create function billing_correct_call(
    p_company_id uuid, p_hold_id uuid, p_reference text, p_cost_usd numeric, p_charged bigint, p_source text,
    p_generation_id text, p_note text, p_actor text,
    out outcome text, out charged_nanocredits bigint, out difference_nanocredits bigint, out anomaly text
) language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
declare
    hold billing_hold;
    settled billing_settlement;
    standing record;
    held bigint;
    becomes_call integer;
    is_anothers boolean;
    balance numeric;
begin
    select * into strict hold from billing_hold h where (h.company_id, h.hold_id) = (p_company_id, p_hold_id);
    select * into strict settled from billing_settlement s where (s.company_id, s.hold_id) = (p_company_id, p_hold_id);
    select * into standing from billing_standing(p_company_id, p_hold_id);
    held := billing_held_in_all(p_company_id, p_hold_id);
    select w.posted_nanocredits into strict balance from billing_wallet w where w.company_id = p_company_id;
    -- Null when no call has this generation id.
    select bool_or((g.company_id, g.hold_id) <> (p_company_id, p_hold_id)) into is_anothers
      from (select s.company_id, s.hold_id from billing_settlement s where s.generation_id = nullif(p_generation_id, '')
            union all
            select c.company_id, c.hold_id from billing_correction c
             where c.generation_id = nullif(p_generation_id, '')) g;

    difference_nanocredits := standing.charged_nanocredits - p_charged;
    anomaly := case
        when not p_cost_usd between 0 and 1000
          or not billing_is_in_range(balance + difference_nanocredits) then 'implausible_cost'
        when p_charged * hold.credit_value_usd < p_cost_usd * hold.markup * 1000000000
          or (p_charged - 1) * hold.credit_value_usd >= p_cost_usd * hold.markup * 1000000000 then 'charge_mismatch'
        when p_source = 'operator' then null
        when hold.is_price_known and p_charged > 20 * held::numeric and held > 0 then 'implausible_cost'
        when is_anothers then 'generation_conflict' end;
    if anomaly is not null then
        outcome := 'quarantined';
        charged_nanocredits := standing.charged_nanocredits;
        difference_nanocredits := 0;
        return;
    end if;

    outcome := case when difference_nanocredits = 0 then 'unchanged' else 'corrected' end;
    charged_nanocredits := p_charged;
    insert into billing_correction (company_id, hold_id, number, reference, cost_usd, charged_nanocredits, source,
                                    generation_id, created_at)
    values (p_company_id, p_hold_id, standing.corrections + 1, p_reference, p_cost_usd, p_charged, p_source,
            case when is_anothers is null then nullif(p_generation_id, '') end, billing_now());
    if difference_nanocredits <> 0 then
        perform billing_append_entry(p_company_id, 'correction', 'gen_' || p_hold_id || ':' || p_reference,
                                     difference_nanocredits, p_note, p_actor, 'gen_' || p_hold_id);
        update billing_budget b set spent_nanocredits = b.spent_nanocredits - difference_nanocredits
          from jsonb_to_recordset(hold.caps) as c (scope text, scope_id uuid, period text, period_start date)
         where (b.company_id, b.scope, b.scope_id, b.period, b.period_start)
             = (p_company_id, c.scope, c.scope_id, billing_cap_period(c.period, c.scope, c.period_start),
                c.period_start);
        -- Told once, for it is told where it is posted; accounts_tell_webhooks waits for nobody.
        perform accounts_tell_webhooks(p_company_id, 'generation.corrected', json_build_object(
            'id', coalesce(settled.generation_id, (
                      select c.generation_id from billing_correction c
                       where (c.company_id, c.hold_id) = (p_company_id, p_hold_id) and c.generation_id is not null
                       order by c.number limit 1), 'gen_' || p_hold_id),
            'naive_generation_id', 'gen_' || p_hold_id, 'number', standing.corrections + 1, 'source', p_source,
            'total_cost', trim_scale(p_cost_usd), 'credits_used', trim_scale(p_charged * 0.000000001),
            'credits_used_before', trim_scale(standing.charged_nanocredits * 0.000000001),
            'amount', trim_scale(difference_nanocredits * 0.000000001), 'user_id', hold.tenant_user_id,
            'key_id', hold.key_id, 'account_kit_id', hold.kit_id)::text, billing_now());
    end if;
    -- A call that was given back and did cost something is one from its first correction on.
    becomes_call := (settled.kind = 'void' and standing.corrections = 0)::integer;
    update billing_usage u
       set calls = u.calls + becomes_call, voided_calls = u.voided_calls - becomes_call,
           tokens_prompt = u.tokens_prompt + becomes_call * billing_usage_tokens(settled.details, 'tokens_prompt'),
           tokens_completion = u.tokens_completion
                             + becomes_call * billing_usage_tokens(settled.details, 'tokens_completion'),
           cost_usd = u.cost_usd + p_cost_usd - standing.cost_usd,
           charged_nanocredits = u.charged_nanocredits - difference_nanocredits,
           held_nanocredits = u.held_nanocredits + becomes_call * held,
           -- What was given back was charged nothing, and so nothing above its hold.
           overrun_nanocredits = u.overrun_nanocredits + greatest(p_charged - held, 0)
                               - greatest(standing.charged_nanocredits - held, 0)
     where (u.company_id, u.hour, u.tenant_user_id, u.key_id, u.kit_id, u.model)
         = (p_company_id, date_trunc('hour', settled.created_at, 'UTC'), hold.tenant_user_id, hold.key_id, hold.kit_id,
            billing_usage_model(settled.details, hold.details));
end $$;

-- A correction that no settlement brought: a person's, or of evidence that came on its own.
-- outcome: as billing_correct_call; already (this reference before); not_settled.
-- Of two records that upstream itself gave, the later one is the better.
create function billing_correct(
    p_company_id uuid, p_hold_id uuid, p_reference text, p_cost_usd numeric, p_charged bigint, p_source text,
    p_generation_id text, p_note text, p_actor text default ''
) returns table (outcome text, charged_nanocredits bigint, difference_nanocredits bigint, balance_nanocredits bigint)
language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
declare
    standing record;
    charged_before bigint;
    anomaly text;
begin
    perform 1 from billing_wallet w where w.company_id = p_company_id for no key update;
    perform billing_lock_generations(array[p_generation_id]);
    select * into standing from billing_standing(p_company_id, p_hold_id);
    difference_nanocredits := 0;
    select c.charged_nanocredits into charged_before from billing_correction c
     where (c.company_id, c.hold_id, c.reference) = (p_company_id, p_hold_id, p_reference);

    if standing.source is null then
        outcome := 'not_settled';
    elsif charged_before is not null then
        outcome := 'already';
        charged_nanocredits := charged_before;
    elsif p_source = 'operator' or billing_rank(p_source) < billing_rank(standing.source)
       or (p_source = 'generation' and standing.source = 'generation' and p_cost_usd <> standing.cost_usd) then
        select c.outcome, c.charged_nanocredits, c.difference_nanocredits, c.anomaly
          into outcome, charged_nanocredits, difference_nanocredits, anomaly
          from billing_correct_call(p_company_id, p_hold_id, p_reference, p_cost_usd, p_charged, p_source,
                                    p_generation_id, p_note, p_actor) c;
    else
        charged_nanocredits := standing.charged_nanocredits;
        outcome := case when p_charged = standing.charged_nanocredits then 'unchanged' else 'quarantined' end;
        anomaly := case when outcome = 'quarantined' then 'settled_differently' end;
    end if;

    insert into billing_anomaly (kind, reference, company_id, hold_id, details, created_at)
    select anomaly,
           billing_evidence_reference(p_hold_id, 'post', p_cost_usd, p_charged, p_source, p_generation_id, null),
           p_company_id, p_hold_id,
           billing_evidence_details('post', p_cost_usd, p_charged, p_source, p_generation_id,
                                    jsonb_build_object('reference', p_reference, 'note', p_note),
                                    standing.charged_nanocredits), billing_now()
     where anomaly is not null on conflict do nothing;
    select w.posted_nanocredits into balance_nanocredits from billing_wallet w where w.company_id = p_company_id;
    return next;
end $$;
