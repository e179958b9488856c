-- What others tell us and what every node has to obey: changes, reports, touches, the event log, idempotency.

-- Acts of obedience. Every node follows this table by the transaction id: numbers are handed out before they commit,
-- so a reader takes all rows whose xid is at or past the oldest transaction that was still running at its last look.
create table changes (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    xid xid8 not null default pg_current_xact_id(),
    kind text not null check (kind in ('unsubscribe', 'suppression', 'pause', 'cancel')),
    campaign_id uuid,
    recipient_id uuid,
    list_id uuid,
    address_key text,
    created_at timestamptz not null default now(),
    primary key (workspace_id, id)
);
create index changes_by_xid on changes (xid);
-- For forgetting what is old.
create index changes_by_time on changes (created_at);

-- A message of a mailbox, raw, from the moment it was fetched. Filed on the server only after this row is committed. Or an
-- event that came by an inbound webhook: its JSON, committed before the answer.
create table reports (
    workspace_id uuid not null,
    id uuid not null,
    mailbox_id uuid,
    -- Where it stands, or stood before it was filed: the folder as in mailbox_cursors.
    folder text,
    uidvalidity bigint,
    uid bigint,
    inbound_webhook_id uuid,
    -- SHA-256 of the service's own id of the event.
    event_key bytea,
    sha256 bytea not null,
    size_bytes bigint not null,
    -- Null when it was too large to fetch.
    raw bytea,
    -- fetched: to be read; recorded: read and its consequences committed; quarantined: set aside, never read again.
    state text not null check (state in ('fetched', 'recorded', 'quarantined')),
    n_tries integer not null default 0,
    state_reason text,
    kind text check (kind in ('dsn', 'arf', 'auto_reply', 'other')),
    -- Of its first failure; null: it reports none.
    class text,
    -- The parsed view, as `inspect-report` prints it.
    inspection jsonb,
    -- Whom it is about, by the signed return path; null: unattributed, changes nothing.
    delivery_id uuid,
    fetched_at timestamptz not null,
    recorded_at timestamptz,
    filed_at timestamptz,
    primary key (workspace_id, id),
    unique (workspace_id, mailbox_id, folder, uidvalidity, uid),
    unique (workspace_id, inbound_webhook_id, event_key),
    foreign key (workspace_id, mailbox_id) references mailboxes (workspace_id, id) on delete cascade,
    foreign key (workspace_id, inbound_webhook_id) references inbound_webhooks (workspace_id, id) on delete cascade,
    check (case when mailbox_id is null then num_nonnulls(inbound_webhook_id, event_key) = 2 and num_nonnulls(folder, uidvalidity, uid) = 0
                else num_nonnulls(inbound_webhook_id, event_key) = 0 and num_nonnulls(folder, uidvalidity, uid) = 3 end)
);
create index reports_by_hash on reports (workspace_id, mailbox_id, sha256);
-- What people look for among very many: the few that were set aside, and those that are nobody's.
create index reports_quarantined on reports (workspace_id, id) where state = 'quarantined';
create index reports_unattributed on reports (workspace_id, id) where delivery_id is null;
create index reports_by_class on reports (workspace_id, class, id) where class is not null;
-- Apart from each other: while a mailbox is drained, thousands wait to be filed, and what is to be read is looked for each time.
-- In the order in which they are read, of a mailbox or of an inbound webhook.
create index reports_unread on reports (workspace_id, coalesce(mailbox_id, inbound_webhook_id), n_tries, id)
    where state = 'fetched';
create index reports_unfiled on reports (workspace_id, mailbox_id, uid) where state <> 'fetched' and filed_at is null;
create index reports_by_delivery on reports (workspace_id, delivery_id) where delivery_id is not null;

-- The event log: facts in the order they were recorded, from which webhooks will be made.
-- Deliveries that bounced softly, by address, for as long as they count towards its suppression.
create table soft_bounces (
    workspace_id uuid not null references workspaces (id),
    address_key text not null,
    delivery_id uuid not null,
    bounced_at timestamptz not null,
    primary key (workspace_id, address_key, delivery_id)
);

create table events (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    kind text not null,
    campaign_id uuid,
    delivery_id uuid,
    recipient_id uuid,
    data jsonb not null default '{}',
    created_at timestamptz not null default now(),
    primary key (workspace_id, id)
);
create index events_by_delivery on events (workspace_id, delivery_id, id) where delivery_id is not null;

-- Opens (link_n = 0) and clicks (link_n >= 1, and all of them together as -1) of one delivery: first time and how often.
-- `verdict` leaves room for telling people from machines: human, prefetch, proxy, scanner, unknown.
create table touches (
    workspace_id uuid not null,
    campaign_id uuid not null,
    delivery_id uuid not null,
    link_n integer not null check (link_n between -1 and 65535),
    verdict text not null default 'unknown',
    n bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    primary key (workspace_id, campaign_id, delivery_id, link_n, verdict)
);

-- Their sums per campaign and link. link_n: 0 opens, >= 1 a link, -1 clicks of the campaign (unique: a delivery counts once).
create table touch_counters (
    workspace_id uuid not null,
    campaign_id uuid not null,
    link_n integer not null,
    verdict text not null,
    n_total bigint not null,
    n_unique bigint not null,
    primary key (workspace_id, campaign_id, link_n, verdict),
    foreign key (workspace_id, campaign_id) references campaigns (workspace_id, id) on delete cascade
);

-- Unsubscribes and complaints of a campaign: one row a delivery at most, so that each counts once.
create table opt_outs (
    workspace_id uuid not null,
    campaign_id uuid not null,
    recipient_id uuid not null,
    kind text not null check (kind in ('unsubscribe', 'complaint')),
    created_at timestamptz not null,
    primary key (workspace_id, campaign_id, recipient_id, kind),
    foreign key (workspace_id, campaign_id) references campaigns (workspace_id, id) on delete cascade
);

-- Replays of POSTs: written in the transaction of their effect. The nil workspace stands for the operator.
create table idempotency_keys (
    workspace_id uuid not null,
    key text not null,
    -- SHA-256 of method, path and body.
    fingerprint bytea not null,
    status smallint not null,
    headers jsonb not null,
    body bytea not null,
    created_at timestamptz not null,
    primary key (workspace_id, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);
