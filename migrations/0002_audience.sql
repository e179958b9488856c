-- Who may be mailed: lists, recipients, their consent, and the addresses that may not be mailed.
-- Every key of a workspace's table has workspace_id in front (Citus; and no query without its tenant).

create table lists (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    description text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Bumped by every edit: the ETag.
    revision bigint not null default 1,
    primary key (workspace_id, id)
);

create table recipients (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    -- As it was given: this spelling is mailed.
    address text not null,
    -- Lower-cased local part and the domain in A-label form: this identifies.
    address_key text not null,
    domain text not null,
    attributes jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revision bigint not null default 1,
    primary key (workspace_id, id),
    unique (workspace_id, address_key)
);
create index recipients_by_domain on recipients (workspace_id, domain, id);

create table subscriptions (
    workspace_id uuid not null,
    list_id uuid not null,
    recipient_id uuid not null,
    state text not null check (state in ('pending', 'subscribed', 'unsubscribed')),
    -- The consent record: from where, when, from which address, to which words.
    consent_source text,
    consent_at timestamptz,
    consent_ip text,
    consent_text text,
    -- Why and when it ended: 'one_click', 'api'; the campaign whose link was used.
    unsubscribed_at timestamptz,
    unsubscribed_by text,
    unsubscribed_campaign_id uuid,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (workspace_id, list_id, recipient_id),
    foreign key (workspace_id, list_id) references lists (workspace_id, id) on delete cascade,
    foreign key (workspace_id, recipient_id) references recipients (workspace_id, id) on delete cascade
);
create index subscriptions_by_recipient on subscriptions (workspace_id, recipient_id);

-- An address that may not be mailed. Keyed by address and not by recipient: it outlives the recipient.
create table suppressions (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    address_key text not null,
    -- The nil UUID stands for the whole workspace, so that the unique key needs no null.
    list_id uuid not null default '00000000-0000-0000-0000-000000000000',
    reason text not null check (reason in ('hard_bounce', 'soft_bounce', 'complaint', 'unsubscribe', 'manual')),
    -- What caused it: {"kind":"api"|"report"|"reply"|"one_click", "delivery_id"?, "report_id"?, "text"?, "note"?}.
    origin jsonb not null default '{}',
    expires_at timestamptz,
    created_at timestamptz not null,
    primary key (workspace_id, id),
    unique (workspace_id, address_key, list_id)
);
