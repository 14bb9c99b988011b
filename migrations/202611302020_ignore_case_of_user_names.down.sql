drop index api_user_any_case;
alter table api_user drop column twin;
update schema_guard set version = 39;
