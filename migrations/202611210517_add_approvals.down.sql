drop index waiting_for_people;
drop table approval;
update schema_guard set version = 16;
