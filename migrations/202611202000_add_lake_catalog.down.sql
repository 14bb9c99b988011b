drop schema lake cascade;
update schema_guard set version = 11;
