-- What was in the books before, brought to the same place: entries chained, calls summed up, budgets named by period.

-- Budgets knew no period: a user's were monthly ones, a key's of the longest that begins on that day.
update billing_budget
   set period = case when period_start = '1970-01-01' then 'total'
                     when scope = 'user' or extract(day from period_start) = 1 then 'month'
                     when extract(isodow from period_start) = 1 then 'week'
                     else 'day' end;
alter table billing_budget
    alter column period set not null,
    add primary key (company_id, scope, scope_id, period, period_start);

alter table billing_entry disable trigger no_rewrite;
update billing_entry set corrects = split_part(reference, ':', 1)
 where action = 'correction' and reference like 'gen\_%:%';
do $$
declare
    entry billing_entry;
    before billing_entry;
    text_hashed text;
begin
    for entry in select * from billing_entry order by company_id, seq loop
        if before.company_id is distinct from entry.company_id then
            before.hash := '';
        end if;
        text_hashed := concat_ws(
            '|', entry.company_id, entry.seq, entry.action, entry.amount_nanocredits, entry.counter_account,
            entry.balance_after_nanocredits, extract(epoch from entry.created_at),
            octet_length(entry.reference), entry.reference, octet_length(entry.note), entry.note,
            octet_length(entry.actor), entry.actor, octet_length(entry.corrects), entry.corrects);
        entry.hash := sha256(before.hash || convert_to(text_hashed, 'UTF8'));
        update billing_entry e set hash = entry.hash where (e.company_id, e.seq) = (entry.company_id, entry.seq);
        before := entry;
    end loop;
end $$;
alter table billing_entry enable trigger no_rewrite;
alter table billing_entry alter column hash set not null;
update billing_wallet w set chain_head = e.hash
  from billing_entry e where (e.company_id, e.seq) = (w.company_id, w.version);

with last as (
    select distinct on (company_id, hold_id) company_id, hold_id, cost_usd, charged_nanocredits
      from billing_correction order by company_id, hold_id, number desc
), calls as (
    select h.company_id, date_trunc('hour', s.created_at, 'UTC') as hour, h.tenant_user_id, h.key_id, h.kit_id,
           left(coalesce(s.details ->> 'model', h.details ->> 'model', ''), 200) as model,
           s.kind = 'post' or last.hold_id is not null as is_call,
           case when jsonb_typeof(s.details -> 'tokens_prompt') = 'number'
                then least(greatest((s.details -> 'tokens_prompt')::numeric, 0), 2147483647)::bigint else 0 end
           as tokens_prompt,
           case when jsonb_typeof(s.details -> 'tokens_completion') = 'number'
                then least(greatest((s.details -> 'tokens_completion')::numeric, 0), 2147483647)::bigint else 0 end
           as tokens_completion,
           coalesce(last.cost_usd, s.cost_usd, 0) as cost_usd,
           coalesce(last.charged_nanocredits, s.charged_nanocredits) as charged, h.amount_nanocredits as held
      from billing_settlement s
      join billing_hold h using (company_id, hold_id)
      left join last using (company_id, hold_id)
)
insert into billing_usage
select company_id, hour, tenant_user_id, key_id, kit_id, model, count(*) filter (where is_call),
       count(*) filter (where not is_call), coalesce(sum(tokens_prompt) filter (where is_call), 0),
       coalesce(sum(tokens_completion) filter (where is_call), 0), sum(cost_usd), sum(charged),
       coalesce(sum(held) filter (where is_call), 0), coalesce(sum(greatest(charged - held, 0)) filter (where is_call), 0)
  from calls group by 1, 2, 3, 4, 5, 6;
