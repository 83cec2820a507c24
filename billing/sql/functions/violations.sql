-- What must be true of the books at every instant, as one view that must be empty (docs/books.md, "Invariants").
-- difference is what stands in the books minus what should; reference names the entry, hold or budget.
-- No part is worked out apart from its use: asked for one company, PostgreSQL looks at that company's rows alone.
create view billing_violations (rule, company_id, reference, difference) as
with charges as not materialized (
    -- What each settled call costs its company today.
    select s.*, s.kind = 'post' or last.hold_id is not null as is_call,
           coalesce(last.cost_usd, s.cost_usd, 0) as cost_usd_today,
           coalesce(last.charged_nanocredits, s.charged_nanocredits) as charged_today
      from billing_settlement s
      left join (select distinct on (company_id, hold_id) company_id, hold_id, cost_usd, charged_nanocredits
                   from billing_correction order by company_id, hold_id, number desc) last using (company_id, hold_id)
), corrections as not materialized (
    -- Every correction, and what it should have moved.
    select k.company_id, k.hold_id, 'gen_' || k.hold_id || ':' || k.reference as reference, k.number, k.generation_id,
           row_number() over calls as place,
           lag(k.charged_nanocredits, 1, s.charged_nanocredits) over calls - k.charged_nanocredits::numeric as moved
      from billing_correction k left join billing_settlement s using (company_id, hold_id)
    window calls as (partition by k.company_id, k.hold_id order by k.number)
), entries as (
    select e.*, lag(e.seq, 1, 0) over mine as seq_before,
           lag(e.balance_after_nanocredits, 1, 0) over mine as balance_before_nanocredits,
           lag(e.hash, 1, '') over mine as hash_before
      from billing_entry e window mine as (partition by e.company_id order by e.seq)
), capped as (
    -- The caps as text: somebody's hand in a snapshot must show here, and not stop the whole check.
    select h.company_id, c.cap ->> 'scope' as scope, c.cap ->> 'scope_id' as scope_id,
           case when c.cap ? 'period' then c.cap ->> 'period'
                when pg_input_is_valid(c.cap ->> 'period_start', 'date')
                then billing_cap_period(null, c.cap ->> 'scope', (c.cap ->> 'period_start')::date) end as period,
           c.cap ->> 'period_start' as period_start, sum(o.amount_nanocredits) as held, sum(s.charged_today) as spent
      from billing_hold h
     cross join jsonb_array_elements(case when jsonb_typeof(h.caps) = 'array' then h.caps else '[]' end) as c (cap)
      left join billing_open_hold o using (company_id, hold_id)
      left join charges s using (company_id, hold_id)
     group by 1, 2, 3, 4, 5
), held as not materialized (
    select h.company_id, h.hold_id, h.tenant_user_id, h.key_id, h.kit_id, h.details,
           h.amount_nanocredits::numeric + coalesce(e.amount, 0) as amount
      from billing_hold h
      left join (select company_id, hold_id, sum(amount_nanocredits) as amount
                   from billing_hold_extension group by 1, 2) e using (company_id, hold_id)
), usage as (
    select s.company_id, date_trunc('hour', s.created_at, 'UTC') as hour, h.tenant_user_id, h.key_id, h.kit_id,
           billing_usage_model(s.details, h.details) as model,
           count(*) filter (where s.is_call) as calls,
           count(*) filter (where not s.is_call) as voided_calls,
           coalesce(sum(billing_usage_tokens(s.details, 'tokens_prompt')) filter (where s.is_call), 0) as tokens_prompt,
           coalesce(sum(billing_usage_tokens(s.details, 'tokens_completion')) filter (where s.is_call), 0)
           as tokens_completion,
           sum(s.cost_usd_today) as cost_usd, sum(s.charged_today) as charged_nanocredits,
           coalesce(sum(h.amount) filter (where s.is_call), 0) as held_nanocredits,
           coalesce(sum(greatest(s.charged_today - h.amount, 0)) filter (where s.is_call), 0)
           as overrun_nanocredits
      from charges s join held h using (company_id, hold_id) group by 1, 2, 3, 4, 5, 6
), budgets as (
    select company_id, scope, scope_id::text as scope_id, period, to_char(period_start, 'YYYY-MM-DD') as period_start,
           spent_nanocredits, held_nanocredits
      from billing_budget
)
select 'W1: the balance is the sum of its entries', company_id, 'wallet',
       coalesce(w.posted_nanocredits, 0) - coalesce(e.total, 0)
  from billing_wallet w
  full join (select company_id, sum(amount_nanocredits) as total from billing_entry group by 1) e using (company_id)
 where w.posted_nanocredits is distinct from coalesce(e.total, 0)
union all
select 'W2: what is held is the sum of the open holds', company_id, 'wallet',
       coalesce(w.held_nanocredits, 0) - coalesce(o.total, 0)
  from billing_wallet w
  full join (select company_id, sum(amount_nanocredits) as total from billing_open_hold group by 1) o using (company_id)
 where w.held_nanocredits is distinct from coalesce(o.total, 0)
union all
select 'W3: the wallet knows its last entry', company_id, 'wallet', w.version - coalesce(e.last, 0)::numeric
  from billing_wallet w
  left join (select company_id, max(seq) as last from billing_entry group by 1) e using (company_id)
 where w.version is distinct from coalesce(e.last, 0)
union all
select 'H1: a hold is open or settled, never both', company_id, 'gen_' || hold_id,
       (o.hold_id is not null)::integer + (s.hold_id is not null)::integer - (h.hold_id is not null)::integer
  from billing_hold h
  full join billing_open_hold o using (company_id, hold_id)
  full join billing_settlement s using (company_id, hold_id)
 where h.hold_id is null or (o.hold_id is null) = (s.hold_id is null)
union all
select 'H2: an open hold stands with the amount it was placed with, and its extensions', company_id, 'gen_' || hold_id,
       o.amount_nanocredits - h.amount
  from billing_open_hold o join held h using (company_id, hold_id)
 where o.amount_nanocredits is distinct from h.amount
union all
select 'S1: a settlement has the one entry that charges it', coalesce(s.company_id, e.company_id),
       coalesce('gen_' || s.hold_id, e.reference),
       coalesce(s.charged_nanocredits, 0)::numeric + coalesce(e.amount_nanocredits, 0)
  from (select * from billing_settlement where charged_nanocredits <> 0) s
  full join (select * from billing_entry where action = 'llm_call') e
    on e.company_id = s.company_id and e.reference = 'gen_' || s.hold_id
 where s.charged_nanocredits is distinct from -e.amount_nanocredits::numeric
union all
select 'S2: a correction has the one entry that moves its difference', company_id, reference,
       coalesce(e.amount_nanocredits, 0) - coalesce(c.moved, 0)
  from corrections c
  full join (select company_id, reference, amount_nanocredits from billing_entry
              where action = 'correction' and reference like 'gen\_%') e using (company_id, reference)
 where coalesce(e.amount_nanocredits, 0) <> coalesce(c.moved, 0)
union all
select 'S3: the corrections of a call are numbered without a gap', company_id, reference, number - place
  from corrections where number <> place
union all
select 'G1: a generation belongs to one call', o.company_id, 'gen_' || o.hold_id, 1
  from billing_open_hold o join billing_settlement s using (generation_id)
 where o.stage <> 'parked'
union all
select 'G1: a generation belongs to one call', c.company_id, c.reference, 1
  from corrections c join billing_settlement s using (generation_id)
 where (c.company_id, c.hold_id) <> (s.company_id, s.hold_id)
union all
select wrong.rule, company_id, 'entry ' || seq, wrong.difference
  from entries
 cross join lateral (values
       ('T1: entries are numbered without a gap', seq is distinct from seq_before::numeric + 1,
        seq::numeric - seq_before - 1),
       ('T2: the running balance adds up',
        balance_after_nanocredits is distinct from balance_before_nanocredits::numeric + amount_nanocredits,
        balance_after_nanocredits::numeric - balance_before_nanocredits - amount_nanocredits),
       ('T3: each entry carries the hash of all before it',
        hash is null or hash is distinct from billing_entry_hash(
            hash_before, company_id, seq, action, amount_nanocredits, counter_account, balance_after_nanocredits,
            created_at, reference, note, actor, corrects),
        null)) as wrong (rule, is_so, difference)
 where wrong.is_so
union all
select 'T3: each entry carries the hash of all before it', company_id,
       'entry ' || coalesce(last.seq, 0) || ' (the last)', null
  from billing_wallet w
  left join (select distinct on (company_id) company_id, seq, hash
               from billing_entry order by company_id, seq desc) last using (company_id)
 where w.chain_head is distinct from coalesce(last.hash, '')
union all
select 'A1: an entry still has the hash it was anchored with', a.company_id, 'entry ' || a.seq, null
  from billing_anchor a left join billing_entry e using (company_id, seq)
 where e.hash is distinct from a.hash
union all
select 'U1: usage is the sum of the calls', company_id,
       concat_ws(' ', 'usage', to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24"Z"'), tenant_user_id, key_id, kit_id,
                 model),
       coalesce(u.charged_nanocredits, 0) - coalesce(s.charged_nanocredits, 0)
  from billing_usage u full join usage s using (company_id, hour, tenant_user_id, key_id, kit_id, model)
 where (u.calls, u.voided_calls, u.tokens_prompt, u.tokens_completion, u.cost_usd, u.charged_nanocredits,
        u.held_nanocredits, u.overrun_nanocredits)
       is distinct from (s.calls, s.voided_calls, s.tokens_prompt, s.tokens_completion, s.cost_usd,
                         s.charged_nanocredits, s.held_nanocredits, s.overrun_nanocredits)
union all
select 'U2: the sums of a day are the sum of its hours', company_id, concat_ws(' ', 'day', day, axis),
       coalesce(d.charged_nanocredits, 0) - coalesce(h.charged_nanocredits, 0)
  from (select d.company_id, d.day, d.axis, sum(d.calls) as calls, sum(d.voided_calls) as voided_calls,
               sum(d.tokens_prompt) as tokens_prompt, sum(d.tokens_completion) as tokens_completion,
               sum(d.cost_usd) as cost_usd, sum(d.charged_nanocredits) as charged_nanocredits,
               sum(d.held_nanocredits) as held_nanocredits, sum(d.overrun_nanocredits) as overrun_nanocredits
          from billing_usage_day d join billing_summed_day s on s.day = d.day and not s.is_stale group by 1, 2, 3) d
  full join (select h.*, axis
               from (select u.company_id, (u.hour at time zone 'UTC')::date as day, sum(u.calls) as calls,
                            sum(u.voided_calls) as voided_calls, sum(u.tokens_prompt) as tokens_prompt,
                            sum(u.tokens_completion) as tokens_completion, sum(u.cost_usd) as cost_usd,
                            sum(u.charged_nanocredits) as charged_nanocredits,
                            sum(u.held_nanocredits) as held_nanocredits,
                            sum(u.overrun_nanocredits) as overrun_nanocredits
                       from billing_usage u group by 1, 2) h
               join billing_summed_day s on s.day = h.day and not s.is_stale
              cross join (values ('model'), ('user'), ('key'), ('kit')) as a (axis)) h using (company_id, day, axis)
 where (d.calls, d.voided_calls, d.tokens_prompt, d.tokens_completion, d.cost_usd, d.charged_nanocredits,
        d.held_nanocredits, d.overrun_nanocredits)
       is distinct from (h.calls, h.voided_calls, h.tokens_prompt, h.tokens_completion, h.cost_usd,
                         h.charged_nanocredits, h.held_nanocredits, h.overrun_nanocredits)
union all
select wrong.rule, company_id, concat_ws(' ', scope, scope_id, period, period_start), wrong.difference
  from budgets b full join capped c using (company_id, scope, scope_id, period, period_start)
 cross join lateral (values
       ('B1: a budget holds what its open holds hold', b.held_nanocredits is distinct from coalesce(c.held, 0),
        coalesce(b.held_nanocredits, 0) - coalesce(c.held, 0)),
       ('B2: a budget has spent what its calls cost', b.spent_nanocredits is distinct from coalesce(c.spent, 0),
        coalesce(b.spent_nanocredits, 0) - coalesce(c.spent, 0))) as wrong (rule, is_so, difference)
 where wrong.is_so;
