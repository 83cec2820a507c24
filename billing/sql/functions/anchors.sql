-- What the anchors up to a day come to, reckoned from the entries as they stand now: it must be what the log of that
-- day says. An entry that is gone counts as missing.
create function billing_anchor_digest(p_day date, out digest text, out companies integer)
language sql stable security definer set search_path = public, pg_temp as $$
    select encode(sha256(convert_to(string_agg(
               concat_ws(' ', a.company_id, a.seq, coalesce(encode(e.hash, 'hex'), 'missing')), E'\n'
               order by a.company_id), 'UTF8')), 'hex'),
           count(*)::integer
      from (select distinct on (company_id) company_id, seq from billing_anchor
             where day <= p_day order by company_id, day desc) a
      left join billing_entry e on (e.company_id, e.seq) = (a.company_id, a.seq)
$$;

-- Remembers the head of every company's chain under a day, once: what moves later is of a later day.
create function billing_anchor_heads(p_day date, out digest text, out companies integer)
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into billing_anchor (company_id, day, seq, hash, created_at)
    select w.company_id, p_day, w.version, w.chain_head, billing_now()
      from billing_wallet w
      left join lateral (select a.seq from billing_anchor a where a.company_id = w.company_id
                          order by a.day desc limit 1) last on true
     where w.version > coalesce(last.seq, 0)
     order by 1 on conflict do nothing;
    select d.digest, d.companies into digest, companies from billing_anchor_digest(p_day) d;
end $$;
