-- What is global: the installation itself, its nodes, tenants, keys and the providers of domains.
-- Small tables; on Citus they would be reference tables. No sequence stands in any key (ids are UUIDv7).

-- Postgres 15 has no uuidv7(): the time in milliseconds in front of random bits (RFC 9562 §5.7), so that rows made
-- together stand together in the index.
create function uuid_v7() returns uuid language sql volatile parallel safe as $$
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- One row: the fingerprint of the signing key that sealed this database's secrets. A node with another key refuses to start.
create table installation (
    singleton boolean primary key default true check (singleton),
    key_fingerprint text not null,
    created_at timestamptz not null default now()
);

-- Every process that runs a role. A node whose heartbeat is old is dead: its leases run out by themselves.
create table nodes (
    id uuid primary key,
    name text not null,
    roles text[] not null,
    started_at timestamptz not null,
    heartbeat_at timestamptz not null
);

create table workspaces (
    id uuid primary key,
    name text not null check (length(name) between 1 and 200),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- An address that bounced softly so often within so many days is suppressed; null: never for that.
    soft_bounce_count smallint default 5 check (soft_bounce_count between 1 and 100),
    soft_bounce_days smallint not null default 90 check (soft_bounce_days between 1 and 365),
    revision bigint not null default 1
);

-- Looked up by id before the workspace is known, hence global. `workspace_id` is null for the operator's key.
create table api_keys (
    id uuid primary key,
    workspace_id uuid references workspaces (id),
    name text not null check (length(name) between 1 and 200),
    -- HMAC-SHA-256 of the secret under a key of the keyring; the secret itself is nowhere.
    secret_hash bytea not null,
    hash_key_id smallint not null,
    scopes text[] not null,
    allowed_ips text[] not null default '{}',
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    created_at timestamptz not null
);
create index api_keys_by_workspace on api_keys (workspace_id, id);

-- Who runs the mailboxes of a domain; filled when a domain first appears, so an expansion joins it and never resolves. Whom the
-- table of domains (in the program) doesn't know is told by the domain's mail servers, which the engine looks up by and by.
create table domains (
    domain text primary key,
    provider text not null default 'other',
    first_seen_at timestamptz not null default now(),
    -- When its mail servers were last looked up, and why that failed, if it did.
    looked_up_at timestamptz,
    look_up_error text,
    -- When they are looked up next; null: the table of domains knows it.
    look_up_at timestamptz
);
create index domains_to_look_up on domains (look_up_at) where look_up_at is not null;
