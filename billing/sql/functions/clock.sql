-- The instant at which the books write: the clock's, unless their owner has told another one (`naive.now`, in a
-- transaction of its own), which is how the past of a demo company is written. Nobody else is believed: where
-- DATABASE_URL is the application's own login, no entry can be dated back.
create function billing_now() returns timestamptz
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    told constant text := coalesce(current_setting('naive.now', true), '');
begin
    if told = '' then
        return clock_timestamp();
    end if;
    -- In here everybody is the owner; who has logged in is what counts.
    if not (select pg_has_role(session_user, c.relowner, 'USAGE') from pg_class c
             where c.oid = 'billing_entry'::regclass) then
        raise exception 'only the owner of the books may tell them the time' using errcode = '42501';
    end if;
    return told::timestamptz;
end $$;
