-- Where each company's chain of entries stood on a day that was closed: whoever writes the chain anew, hashes and
-- all, breaks this. A company that has not moved since its last anchor has no row.
create table billing_anchor (
    company_id uuid not null,
    day        date not null,
    seq        bigint not null check (seq > 0),
    hash       bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (company_id, day)
);
comment on column billing_anchor.hash is 'That of the entry with this number.';
create trigger no_rewrite before update or delete on billing_anchor for each row execute function billing_deny();
create trigger no_truncate before truncate on billing_anchor for each statement execute function billing_deny();

-- Calls nobody ever heard of are few, and counted by the day.
create index billing_settlement_no_evidence on billing_settlement (created_at) where source = 'no_evidence';

-- A person reads them latest first.
create index billing_anomaly_created_at on billing_anomaly (created_at, kind, reference);
