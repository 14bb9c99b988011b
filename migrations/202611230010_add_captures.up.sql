-- Streams that capture the changes of a database have a position there, which moves in the transaction that appends the records.
alter table stream add column capture jsonb;

update schema_guard set version = 31;
