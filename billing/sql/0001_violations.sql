-- What must be true of the books at every instant, as one view that must be empty (docs/money.md, "Invariants").
-- difference is what stands in the books minus what should; reference names the entry, hold or budget.
create view billing_violations (rule, company_id, reference, difference) as
with charges as (
    -- What each settled call costs its company today.
    select s.company_id, s.hold_id, coalesce(last.charged_nanocredits, s.charged_nanocredits) as charged_nanocredits
      from billing_settlement s
      left join (select distinct on (company_id, hold_id) company_id, hold_id, charged_nanocredits
                   from billing_correction order by company_id, hold_id, number desc) last using (company_id, hold_id)
), corrections as (
    -- Every correction, and what it should have moved.
    select k.company_id, k.hold_id, 'gen_' || k.hold_id || ':' || k.reference as reference, k.number, k.generation_id,
           row_number() over calls as place,
           lag(k.charged_nanocredits, 1, s.charged_nanocredits) over calls - k.charged_nanocredits::numeric as moved
      from billing_correction k left join billing_settlement s using (company_id, hold_id)
    window calls as (partition by k.company_id, k.hold_id order by k.number)
), entries as (
    select e.*, lag(e.seq, 1, 0) over mine as seq_before,
           lag(e.balance_after_nanocredits, 1, 0) over mine as balance_before_nanocredits
      from billing_entry e window mine as (partition by e.company_id order by e.seq)
), capped as (
    -- The caps as text: somebody's hand in a snapshot must show here, and not stop the whole check.
    select h.company_id, c.cap ->> 'scope' as scope, c.cap ->> 'scope_id' as scope_id,
           c.cap ->> 'period_start' as period_start, sum(o.amount_nanocredits) as held,
           sum(s.charged_nanocredits) as spent
      from billing_hold h
     cross join jsonb_array_elements(case when jsonb_typeof(h.caps) = 'array' then h.caps else '[]' end) as c (cap)
      left join billing_open_hold o using (company_id, hold_id)
      left join charges s using (company_id, hold_id)
     group by 1, 2, 3, 4
), budgets as (
    select company_id, scope, scope_id::text as scope_id, to_char(period_start, 'YYYY-MM-DD') as period_start,
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
 where w.version <> coalesce(e.last, 0)
union all
select 'H1: a hold is open or settled, never both', company_id, 'gen_' || hold_id,
       (o.hold_id is not null)::integer + (s.hold_id is not null)::integer - (h.hold_id is not null)::integer
  from billing_hold h
  full join billing_open_hold o using (company_id, hold_id)
  full join billing_settlement s using (company_id, hold_id)
 where h.hold_id is null or (o.hold_id is null) = (s.hold_id is null)
union all
select 'H2: an open hold stands with the amount it was placed with', company_id, 'gen_' || hold_id,
       o.amount_nanocredits::numeric - h.amount_nanocredits
  from billing_open_hold o join billing_hold h using (company_id, hold_id)
 where o.amount_nanocredits <> h.amount_nanocredits
union all
select 'S1: a settlement has the one entry that charges it', coalesce(s.company_id, e.company_id),
       coalesce('gen_' || s.hold_id, e.reference), coalesce(s.charged_nanocredits, 0)::numeric + coalesce(e.amount_nanocredits, 0)
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
select 'T1: entries are numbered without a gap', company_id, 'entry ' || seq, seq::numeric - seq_before - 1
  from entries where seq <> seq_before::numeric + 1
union all
select 'T2: the running balance adds up', company_id, 'entry ' || seq,
       balance_after_nanocredits::numeric - balance_before_nanocredits - amount_nanocredits
  from entries where balance_after_nanocredits <> balance_before_nanocredits::numeric + amount_nanocredits
union all
select 'B1: a budget holds what its open holds hold', company_id, concat_ws(' ', scope, scope_id, period_start),
       coalesce(b.held_nanocredits, 0) - coalesce(c.held, 0)
  from budgets b full join capped c using (company_id, scope, scope_id, period_start)
 where b.held_nanocredits is distinct from coalesce(c.held, 0)
union all
select 'B2: a budget has spent what its calls cost', company_id, concat_ws(' ', scope, scope_id, period_start),
       coalesce(b.spent_nanocredits, 0) - coalesce(c.spent, 0)
  from budgets b full join capped c using (company_id, scope, scope_id, period_start)
 where b.spent_nanocredits is distinct from coalesce(c.spent, 0);

-- What runs as the owner of the books is for the owner alone, whoever else may log in.
do $$
declare called regprocedure;
begin
    for called in select oid from pg_proc
                   where pronamespace = current_schema::regnamespace and proname like 'billing\_%' loop
        execute format('revoke execute on function %s from public', called);
    end loop;
end $$;
