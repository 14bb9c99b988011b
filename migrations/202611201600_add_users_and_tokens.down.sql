alter table worker drop column memory_mb;
alter table process drop column binary_version, drop column memory_mb;
drop table api_token;
drop index web_session_user;
delete from web_session where kind <> 'browser';
alter table web_session drop column id, drop column kind, drop column user_agent;
delete from api_user where is_disabled;
alter table api_user
    drop constraint api_user_role,
    drop column is_disabled, drop column generation, drop column full_name, drop column email;
update schema_guard set version = 2;
