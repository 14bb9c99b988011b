-- Connections and variables. What is secret in them is sealed (store/src/seal.rs) with a key that is not in the
-- database: whoever reads these tables, or a dump of them, reads no secret.
create table connection (
    conn_id text primary key check (conn_id ~ '^[A-Za-z0-9_.-]{1,250}$'),
    conn_type text not null,
    description text,
    host text,
    port integer check (port between 0 and 65535),
    login text,
    schema text,
    -- Sealed. Null: there is none.
    password bytea,
    -- Sealed: the whole JSON object, for there is no telling which of its fields are secrets.
    extra bytea,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table variable (
    key text primary key check (char_length(key) between 1 and 250),
    -- Sealed.
    value bytea not null,
    description text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

update schema_guard set version = 6;
