-- What operators tell everyone who opens the home page: maintenance, an outage elsewhere.
create table announcement (
    name text primary key,
    message text not null,
    until timestamptz,                          -- null: until it is deleted
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

update schema_guard set version = 34;
