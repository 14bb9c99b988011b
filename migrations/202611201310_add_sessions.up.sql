-- Who is logged in with a browser. The cookie holds what only the hash of is kept here: whoever reads this table cannot
-- log in with it.
create table web_session (
    token_hash bytea primary key,
    user_name text not null references api_user (name) on delete cascade,
    -- Follows from the password it was opened with: a new password ends the session.
    stamp text not null,
    client_ip text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index web_session_expires on web_session (expires_at);

update schema_guard set version = 2;
