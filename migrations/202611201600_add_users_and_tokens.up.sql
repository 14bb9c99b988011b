-- People who come and go, and tokens for programs.
alter table api_user
    -- Cannot log in, and nothing of theirs is accepted.
    add column is_disabled boolean not null default false,
    -- Grows whenever all sessions and tokens of the user must end.
    add column generation integer not null default 0,
    add column full_name text not null default '',
    add column email text not null default '',
    add constraint api_user_role check (role in ('viewer', 'user', 'op', 'admin'));

-- A login of a browser, or of a program that changed a password for a token (`/auth/token`).
alter table web_session
    -- Names it to people; the hash stays here.
    add column id bigint generated always as identity unique,
    add column kind text not null default 'browser' check (kind in ('browser', 'program')),
    add column user_agent text not null default '';
create index web_session_user on web_session (user_name);

-- Tokens that people made for programs. Only hashes are kept: a token is shown once.
create table api_token (
    id bigint generated always as identity primary key,
    token_hash bytea not null unique,
    user_name text not null references api_user (name) on delete cascade,
    name text not null,
    -- Of the user when it was made: it ends when the user's grows.
    generation integer not null,
    created_at timestamptz not null,
    -- Null: until it is revoked.
    expires_at timestamptz,
    unique (user_name, name)
);

-- What each process is and needs, for people.
alter table worker add column memory_mb integer not null default 0;
alter table process
    add column binary_version text not null default '',
    add column memory_mb integer not null default 0;

update schema_guard set version = 3;
