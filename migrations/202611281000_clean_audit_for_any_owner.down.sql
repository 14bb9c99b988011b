update schema_guard set version = 35;
