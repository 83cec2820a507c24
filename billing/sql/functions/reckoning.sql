-- Pure reckoning that the other functions and the view of violations share. Each is one expression, bound to its
-- names when it is made, so that PostgreSQL puts it in the place of its call; none of them reads a table.

-- What an entry's hash is: sha256 of the hash before it and one text of its columns. Texts that anybody chose carry
-- their length, so that no two rows have the same; the instant is seconds since 1970, whatever the session's zone.
create function billing_entry_hash(
    p_before bytea, p_company_id uuid, p_seq bigint, p_action text, p_amount bigint, p_counter_account text,
    p_balance_after bigint, p_created_at timestamptz, p_reference text, p_note text, p_actor text, p_corrects text
) returns bytea language sql stable return sha256(p_before || convert_to(concat_ws(
    '|', p_company_id, p_seq, p_action, p_amount, p_counter_account, p_balance_after, extract(epoch from p_created_at),
    octet_length(p_reference), p_reference, octet_length(p_note), p_note,
    octet_length(p_actor), p_actor, octet_length(p_corrects), p_corrects), 'UTF8'));

-- The model a call is summed up under, as long as an index can keep it.
create function billing_usage_model(p_settled jsonb, p_held jsonb) returns text
language sql immutable return left(coalesce(p_settled ->> 'model', p_held ->> 'model', ''), 200);

-- A count of tokens in a call's details; 0 where there is none that could be one.
create function billing_usage_tokens(p_details jsonb, p_name text) returns bigint
language sql immutable return case jsonb_typeof(p_details -> p_name) when 'number'
    then least(greatest((p_details -> p_name)::numeric, 0), 2147483647)::bigint else 0 end;

-- The period of a cap: holds from before caps named theirs have it from its first day, as their budgets have.
create function billing_cap_period(p_period text, p_scope text, p_period_start date) returns text
language sql immutable return coalesce(p_period, case
    when p_period_start = date '1970-01-01' then 'total'
    when p_scope = 'user' or extract(day from p_period_start) = 1 then 'month'
    when extract(isodow from p_period_start) = 1 then 'week' else 'day' end);
