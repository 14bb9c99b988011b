-- User names are unique regardless of case, so `Admin` cannot be created beside `admin`. Users whose names already differ only in
-- case are kept, because renaming or deleting a user here would log people out: each has its own name as `twin`.
alter table api_user add column twin text not null default '';
update api_user u set twin = u.name
where exists (select from api_user o where o.name <> u.name and lower(o.name collate "C") = lower(u.name collate "C"));
-- "C", because a locale such as Turkish does not lower `I` to `i`. Names are ASCII.
create unique index api_user_any_case on api_user (lower(name collate "C"), twin);

update schema_guard set version = 40;
