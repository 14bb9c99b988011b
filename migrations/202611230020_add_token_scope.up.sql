-- What a token opens: everything that its owner may do, or published queries and nothing else.
alter table api_token add column scope text not null default 'all' check (scope in ('all', 'serving'));

update schema_guard set version = 32;
