-- What is said and through which doors: templates with immutable versions, sender domains, relays, mailboxes.

create table templates (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    archived_at timestamptz,
    revision bigint not null default 1,
    primary key (workspace_id, id)
);

-- Immutable: never updated, so a running campaign can't change under its recipients.
create table template_versions (
    workspace_id uuid not null,
    id uuid not null,
    template_id uuid not null,
    -- 1, 2, 3 … within the template.
    n integer not null check (n > 0),
    subject text not null,
    html text,
    text text,
    created_at timestamptz not null,
    primary key (workspace_id, id),
    unique (workspace_id, template_id, n),
    foreign key (workspace_id, template_id) references templates (workspace_id, id) on delete cascade,
    check (html is not null or text is not null)
);

-- An IMAP or POP3 account in which reports arrive. The reader's lease: one reader a mailbox over all nodes.
create table mailboxes (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    kind text not null default 'imap' check (kind in ('imap', 'pop3')),
    host text not null,
    port integer not null check (port between 1 and 65535),
    tls text not null check (tls in ('none', 'starttls', 'implicit')),
    auth text not null default 'login' check (auth in ('login', 'plain', 'xoauth2')),
    username text not null,
    -- Sealed, bound to `mailboxes/<id>/secret`.
    secret bytea,
    secret_key_id smallint,
    -- A login outside TLS is refused unless this is said (loopback is always allowed).
    allow_plaintext_auth boolean not null default false,
    -- Read one after the other; of no meaning for POP3.
    folders text[] not null default '{INBOX}' check (cardinality(folders) between 1 and 20),
    -- What becomes of a message whose report is recorded, and what the words need: move to filed_folder, mark with
    -- filed_flag, leave, delete so many days later.
    filing text not null default 'move' check (filing in ('move', 'mark', 'leave', 'delete')),
    filed_folder text not null default 'Postrider',
    filed_flag text not null default '\Seen',
    delete_after_days integer not null default 7 check (delete_after_days between 0 and 3650),
    poll_seconds integer not null default 60 check (poll_seconds between 1 and 86400),
    enabled boolean not null default true,
    health text not null default 'untested' check (health in ('untested', 'ok', 'failing')),
    last_error text,
    last_error_at timestamptz,
    -- Rounds that failed since the last good one: each doubles the wait for the next.
    n_failures integer not null default 0,
    checked_at timestamptz,
    last_read_at timestamptz,
    -- The reader's own id, not its node's.
    lease_owner uuid,
    lease_until timestamptz,
    -- When the next round is due; null: at once.
    next_read_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revision bigint not null default 1,
    primary key (workspace_id, id),
    check (kind = 'imap' or filing in ('leave', 'delete'))
);

-- How a mailbox gets its access tokens, instead of a secret: the consent of its owner (OAuth 2.0, RFC 6749 §6).
create table mailbox_grants (
    workspace_id uuid not null,
    mailbox_id uuid not null,
    -- https; where the refresh token goes, and nowhere else.
    token_url text not null,
    client_id text not null,
    scope text,
    -- Sealed, bound to `mailbox_grants.<column>/<mailbox_id>/secret`.
    client_secret bytea,
    client_secret_key_id smallint,
    refresh_token bytea not null,
    refresh_token_key_id smallint not null,
    -- The last access token, for as long as it is good.
    access_token bytea,
    access_token_key_id smallint,
    expires_at timestamptz,
    primary key (workspace_id, mailbox_id),
    foreign key (workspace_id, mailbox_id) references mailboxes (workspace_id, id) on delete cascade
);

-- Where the reader stands in a folder; committed together with the raw report. `folder` is a URL that names the server as
-- well (imap://user@host:port/INBOX): after an edit the UIDs are another server's.
create table mailbox_cursors (
    workspace_id uuid not null,
    mailbox_id uuid not null,
    folder text not null,
    uidvalidity bigint not null,
    last_uid bigint not null,
    updated_at timestamptz not null,
    primary key (workspace_id, mailbox_id, folder),
    foreign key (workspace_id, mailbox_id) references mailboxes (workspace_id, id) on delete cascade
);

-- What waits in a POP3 maildrop, where messages have unique ids (RFC 1939 §7) and no numbers that last: ours, given at
-- first sight in their order. The cursor's last_uid is the highest that was given; is_read is committed with the raw
-- report. Those that are gone are remembered for a while, for a server that only forgot them for a moment.
create table maildrop_messages (
    workspace_id uuid not null,
    mailbox_id uuid not null,
    -- As in mailbox_cursors (pop3://user@host:port).
    folder text not null,
    -- The first 16 bytes of the unique id's SHA-256.
    uidl bytea not null check (length(uidl) = 16),
    uid bigint not null,
    is_read boolean not null default false,
    gone_at timestamptz,
    primary key (workspace_id, mailbox_id, folder, uidl),
    unique (workspace_id, mailbox_id, folder, uid),
    foreign key (workspace_id, mailbox_id) references mailboxes (workspace_id, id) on delete cascade
);

-- Where a mail service tells by HTTP of bounces and complaints (Amazon SES, SendGrid, Mailgun, Postmark): an address with
-- an unguessable token, and how it is known that the service speaks. The lease: one node reads its events at a time.
create table inbound_webhooks (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    kind text not null check (kind in ('amazon_ses', 'sendgrid', 'mailgun', 'postmark')),
    -- Amazon SES: the SNS topic whose messages are taken, and when the subscription to it was confirmed.
    topic_arn text,
    subscribed_at timestamptz,
    -- SendGrid: the key that its signatures are checked with (DER, SubjectPublicKeyInfo).
    public_key bytea,
    -- Postmark: the user of the Basic authentication.
    username text,
    -- Mailgun: its signing key; Postmark: the password. Sealed, bound to `inbound_webhooks/<id>/secret`.
    secret bytea,
    secret_key_id smallint,
    enabled boolean not null default true,
    -- The last request that was taken, and the last that was refused, with why.
    last_event_at timestamptz,
    last_error text,
    last_error_at timestamptz,
    lease_owner uuid,
    lease_until timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revision bigint not null default 1,
    primary key (workspace_id, id),
    check ((kind = 'amazon_ses') = (topic_arn is not null)),
    check ((kind = 'sendgrid') = (public_key is not null)),
    check ((kind = 'postmark') = (username is not null)),
    check ((kind in ('mailgun', 'postmark')) = (secret is not null))
);

-- Tokens that Mailgun signed and that were used: the signature covers nothing of the body, so none may come twice with
-- another one. Forgotten when the time in which they are believed is over.
create table inbound_tokens (
    workspace_id uuid not null,
    inbound_webhook_id uuid not null,
    -- SHA-256 of the token, and of the body that came with it.
    token bytea not null,
    body bytea not null,
    seen_at timestamptz not null,
    primary key (workspace_id, inbound_webhook_id, token),
    foreign key (workspace_id, inbound_webhook_id) references inbound_webhooks (workspace_id, id) on delete cascade
);
create index inbound_tokens_by_age on inbound_tokens (seen_at);

create table sender_domains (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    -- A-label, lower case: the domain of a From.
    domain text not null,
    -- The domain of MAIL FROM; its mail arrives in the mailbox below.
    return_path_domain text not null,
    mailbox_id uuid,
    -- Base of unsubscribe, click and pixel links; null: server.public_url.
    link_base_url text,
    -- The rate of all campaigns that send from it.
    rate_messages integer check (rate_messages > 0),
    rate_per_seconds integer check (rate_per_seconds between 1 and 86400),
    -- The relays over which its mail goes; empty: all of the workspace. No relay is deleted while it stands here.
    relay_ids uuid[] not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revision bigint not null default 1,
    primary key (workspace_id, id),
    unique (workspace_id, domain),
    check ((rate_messages is null) = (rate_per_seconds is null)),
    foreign key (workspace_id, mailbox_id) references mailboxes (workspace_id, id)
);

-- The keys that sign the messages of a sender domain (DKIM). Several, so that one can be replaced while messages that the old
-- one signed are still on their way: the newest verified one signs.
create table dkim_keys (
    workspace_id uuid not null,
    id uuid not null,
    sender_domain_id uuid not null,
    -- DNS publishes the key at `<selector>._domainkey.<domain>`.
    selector text not null check (length(selector) between 1 and 63),
    algorithm text not null check (algorithm in ('rsa', 'ed25519')),
    public_key bytea not null,
    -- PKCS#8, sealed, bound to `dkim_keys/<id>/private_key`.
    private_key bytea not null,
    private_key_key_id smallint not null,
    -- When DNS was last seen to publish it; null: never, or no more.
    verified_at timestamptz,
    checked_at timestamptz,
    last_error text,
    created_at timestamptz not null,
    primary key (workspace_id, id),
    unique (workspace_id, sender_domain_id, selector),
    foreign key (workspace_id, sender_domain_id) references sender_domains (workspace_id, id) on delete cascade
);

create table relays (
    workspace_id uuid not null references workspaces (id),
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    -- `smtp`: to a server. `mx`: straight to the mail servers of each recipient's domain; then there is no server and no login.
    kind text not null default 'smtp' check (kind in ('smtp', 'mx')),
    host text,
    port integer check (port between 1 and 65535),
    tls text check (tls in ('none', 'starttls', 'implicit')),
    auth text not null default 'none' check (auth in ('none', 'plain', 'login', 'cram_md5', 'scram_sha_256', 'xoauth2')),
    username text,
    -- Sealed, bound to `relays/<id>/secret`.
    secret bytea,
    secret_key_id smallint,
    -- Credentials outside TLS are refused unless this is said (loopback is always allowed).
    allow_plaintext_auth boolean not null default false,
    max_connections integer not null default 8 check (max_connections between 1 and 1000),
    messages_per_connection integer not null default 1000 check (messages_per_connection between 1 and 1000000),
    -- A rate: so many messages in so many seconds, spread evenly; both null: none.
    rate_messages integer check (rate_messages > 0),
    rate_per_seconds integer check (rate_per_seconds between 1 and 86400),
    -- [{"provider", "rate": [messages, seconds] or null, "connections": n or null}]: what may go to single providers.
    provider_limits jsonb not null default '[]' check (jsonb_typeof(provider_limits) = 'array'),
    -- Lower goes first.
    priority integer not null default 100 check (priority between 0 and 1000),
    -- Its share beside others of its priority that have one; null: it takes what it can.
    weight integer check (weight between 1 and 1000),
    enabled boolean not null default true,
    health text not null default 'untested' check (health in ('untested', 'ok', 'failing')),
    last_error text,
    last_error_at timestamptz,
    checked_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revision bigint not null default 1,
    primary key (workspace_id, id),
    check ((rate_messages is null) = (rate_per_seconds is null)),
    check (num_nulls(host, port, tls) = case kind when 'smtp' then 0 else 3 end),
    check (kind = 'smtp' or auth = 'none'),
    check (auth = 'none' or username is not null)
);

-- What is held or slowed down on a relay because of what was replied: a provider, one domain of provider `other`, or all (`*`).
create table relay_holds (
    workspace_id uuid not null,
    relay_id uuid not null,
    provider text not null,
    -- Empty where it is about the provider.
    domain text not null default '',
    -- What may still go; 0: nothing.
    per_minute integer not null check (per_minute >= 0),
    reason text not null,
    reply text not null,
    since timestamptz not null,
    changed_at timestamptz not null,
    -- Then it is eased by a step.
    until timestamptz not null,
    primary key (workspace_id, relay_id, provider, domain),
    foreign key (workspace_id, relay_id) references relays (workspace_id, id) on delete cascade
);

-- Which node may spend how much of a limit (millionths), until when. Together they are never more than the whole.
create table slices (
    workspace_id uuid not null references workspaces (id),
    limit_key text not null,
    node_id uuid not null,
    n_parts integer not null check (n_parts between 0 and 1000000),
    -- The parts that the node could spend: what it doesn't need is the others'.
    n_needed integer not null check (n_needed between 0 and 1000000),
    lease_until timestamptz not null,
    primary key (workspace_id, limit_key, node_id)
);
