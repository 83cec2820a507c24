-- The functions of before know nothing of the columns that come now. Until billing/functions.py has made the new ones, a
-- running gateway is to find none at all: it tries again and spools, where a row that was refused would wait for a person.
drop view if exists billing_violations;
do $$
declare old regprocedure;
begin
    for old in select oid from pg_proc where pronamespace = current_schema::regnamespace
                  and proname like 'billing\_%' and proname <> 'billing_deny' loop
        execute format('drop function %s', old);
    end loop;
end $$;
