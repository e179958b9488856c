-- One content to one audience, and the ledger of what became of every recipient.
--
-- batches, deliveries, attempts and transitions carry no foreign key: each check would lock the one campaign row (or the
-- delivery) again for every message. Nothing deletes a campaign that was ever started, and only `store` writes them.

create table campaigns (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    state text not null default 'draft'
        check (state in ('draft', 'scheduled', 'sending', 'paused', 'sent', 'cancelled')),
    -- Why it is paused, when it was not a person who paused it (its start failed a check).
    state_reason text,
    from_name text not null default '',
    from_address text not null,
    -- Its domain in A-label form: a sender domain of this name must exist at the start.
    from_domain text not null,
    reply_to text,
    -- Either a template (its newest version is pinned at schedule or start) or the content itself.
    template_id uuid,
    subject text,
    html text,
    text text,
    -- Set at schedule or start, cleared by revert: from then on subject, html, text are what will be sent.
    template_version_id uuid,
    pinned_at timestamptz,
    track_opens boolean not null default true,
    track_clicks boolean not null default true,
    on_unknown text not null default 'retry_once' check (on_unknown in ('retry_once', 'never_resend')),
    delivery_kind text not null default 'now' check (delivery_kind in ('now', 'at')),
    -- When a scheduled one starts.
    start_at timestamptz,
    rate_messages integer check (rate_messages > 0),
    rate_per_seconds integer check (rate_per_seconds between 1 and 86400),
    -- Its share where the workspace's campaigns want the same permits.
    priority text not null default 'normal' check (priority in ('low', 'normal', 'high')),
    started_at timestamptz,
    finished_at timestamptz,
    paused_at timestamptz,
    -- The expansion: recipients up to and including this id have their rows; committed with those rows.
    audience_cursor uuid,
    audience_complete boolean not null default false,
    -- Matched a list but never became part of the audience, counted while expanding.
    n_unsubscribed bigint not null default 0,
    n_unconfirmed bigint not null default 0,
    n_excluded bigint not null default 0,
    -- Deliveries still to be worked on may exist: cleared when a cancel has been swept through them.
    sweep_due boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revision bigint not null default 1,
    primary key (workspace_id, id),
    foreign key (workspace_id, template_id) references templates (workspace_id, id),
    foreign key (workspace_id, template_version_id) references template_versions (workspace_id, id),
    check ((rate_messages is null) = (rate_per_seconds is null)),
    check (state <> 'scheduled' or start_at is not null),
    check (state not in ('scheduled', 'sending', 'sent') or pinned_at is not null),
    check (state not in ('sending', 'sent') or started_at is not null),
    check ((state in ('sent', 'cancelled')) = (finished_at is not null))
);
create index campaigns_by_state on campaigns (workspace_id, state, id);
-- What the engine looks for; few rows at any time.
create index campaigns_scheduled on campaigns (start_at) where state = 'scheduled';
create index campaigns_active on campaigns (workspace_id, id) where state in ('sending', 'paused') or sweep_due;

create table campaign_lists (
    workspace_id uuid not null,
    campaign_id uuid not null,
    list_id uuid not null,
    role text not null check (role in ('include', 'exclude')),
    primary key (workspace_id, campaign_id, list_id),
    -- None to lists: a list may be deleted once the campaign has ended.
    foreign key (workspace_id, campaign_id) references campaigns (workspace_id, id) on delete cascade
);
create index campaign_lists_by_list on campaign_lists (workspace_id, list_id);

-- The times that a campaign stood paused, each written when it ended: they don't count towards a deferral's age.
create table campaign_pauses (
    workspace_id uuid not null,
    campaign_id uuid not null,
    paused_at timestamptz not null,
    resumed_at timestamptz not null,
    primary key (workspace_id, campaign_id, paused_at),
    foreign key (workspace_id, campaign_id) references campaigns (workspace_id, id) on delete cascade
);

-- The links of a campaign's content, numbered once when it is pinned. Click tokens name (delivery, n).
create table campaign_links (
    workspace_id uuid not null,
    campaign_id uuid not null,
    n integer not null check (n between 1 and 65535),
    -- As written in the template; with variables it counts as one link.
    url_template text not null,
    has_variables boolean not null,
    primary key (workspace_id, campaign_id, n),
    foreign key (workspace_id, campaign_id) references campaigns (workspace_id, id) on delete cascade
);

-- The unit of claiming: up to some 500 deliveries of one campaign and one provider. A worker takes one by updating one row.
create table batches (
    workspace_id uuid not null,
    id uuid not null,
    campaign_id uuid not null,
    provider text not null,
    -- How many deliveries it was made with; an upper bound of what is left.
    n_deliveries integer not null,
    -- Not to be claimed before: a retry's time, a hold.
    due_at timestamptz not null,
    owner uuid,
    -- Fencing: every claim adds one; intents carry it.
    epoch bigint not null default 0,
    lease_until timestamptz,
    primary key (workspace_id, id),
    check ((owner is null) = (lease_until is null))
);
create index batches_by_campaign on batches (workspace_id, campaign_id, provider, due_at);
create index batches_leased on batches (lease_until) where owner is not null;

-- The ledger: one recipient's copy. Its state is one of these at every moment, through any crash.
-- No index names `state` or `attempt`, so that queued → sending → accepted are HOT updates; the fillfactor leaves each page
-- room for both, for the rows of a batch stand together and are updated together, often before the first ones can be cleared
-- away. What is cleared away there leaves a vacuum nothing to do, so it waits until there is much: in the middle of a campaign
-- it took an eighth of all CPU time. A recipient's deliveries are found by campaign: an index by recipients would cost each message more than all looks
-- at it save.
create table deliveries (
    workspace_id uuid not null,
    id uuid not null,
    campaign_id uuid not null,
    recipient_id uuid not null,
    batch_id uuid,
    state text not null check (state in ('queued', 'sending', 'deferred', 'unknown', 'accepted', 'bounced', 'rejected',
                                         'expired', 'failed', 'suppressed', 'cancelled')),
    -- Attempts begun; a settle names the attempt it settles.
    attempt integer not null default 0,
    -- Resends of an `unknown`: at most one.
    n_resends smallint not null default 0,
    relay_id uuid,
    provider text not null,
    -- The address as it was mailed and its key: the row says what happened even when the recipient is gone.
    address text not null,
    address_key text not null,
    first_attempt_at timestamptz,
    -- Of the latest attempt; also the Date header is fixed at the first (first_attempt_at).
    attempt_at timestamptz,
    -- The latest attempt, if it was accepted and that was written in time: the commonest end gets no row in `attempts`.
    accepted_code smallint,
    accepted_enhanced text,
    accepted_text text,
    accepted_tls text,
    accepted_ms integer,
    accepted_by_node uuid,
    -- When a deferred or an unknown one is to be tried again; null when nothing waits.
    due_at timestamptz,
    -- Class of the bounce or rejection, or the reason of failed/suppressed/cancelled/expired, in a word.
    reason text,
    -- The same in a sentence: the reply, the diagnostic, the rendering error.
    reason_text text,
    updated_at timestamptz not null,
    primary key (workspace_id, id),
    unique (workspace_id, campaign_id, recipient_id),
    check (state <> 'sending' or (attempt > 0 and batch_id is not null))
) with (fillfactor = 30, autovacuum_vacuum_threshold = 500000, autovacuum_vacuum_insert_threshold = 1000000);
create index deliveries_by_batch on deliveries (workspace_id, batch_id) where batch_id is not null;
-- What waits by due time.
create index deliveries_due on deliveries (workspace_id, due_at) where due_at is not null;

-- One SMTP try at a delivery, written when its outcome is known (or by the rescue, as unknown); but for those that were
-- accepted, which stand in the delivery's own row. `every_attempt` has both.
create table attempts (
    workspace_id uuid not null,
    delivery_id uuid not null,
    n integer not null check (n > 0),
    relay_id uuid,
    node_id uuid,
    outcome text not null
        check (outcome in ('accepted', 'deferred', 'rejected', 'unknown', 'not_submitted', 'suppressed')),
    -- Where the session stood: connect, greeting, ehlo, starttls, auth, mail, rcpt, data, body, dot.
    phase text not null,
    code smallint,
    enhanced text,
    text text not null default '',
    tls text,
    started_at timestamptz not null,
    duration_ms integer not null,
    primary key (workspace_id, delivery_id, n)
);

create view every_attempt as
    select workspace_id, delivery_id, n, relay_id, node_id, outcome, phase, code, enhanced, text, tls, started_at, duration_ms
    from attempts
    union all
    select workspace_id, id, attempt, relay_id, accepted_by_node, 'accepted', 'dot', accepted_code, accepted_enhanced,
           accepted_text, accepted_tls, attempt_at, accepted_ms
    from deliveries where accepted_ms is not null;

-- Counters of transitions: a state is what came in minus what went out. Creation comes from 'new'.
-- The nil UUID stands for "no relay". Written in key order, in the transaction that changes the deliveries.
create table transitions (
    workspace_id uuid not null,
    campaign_id uuid not null,
    minute timestamptz not null,
    provider text not null,
    relay_id uuid not null,
    from_state text not null,
    to_state text not null,
    -- Bounce class of a rejection or bounce, else ''.
    class text not null default '',
    node_id uuid not null,
    n bigint not null,
    primary key (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id)
);
