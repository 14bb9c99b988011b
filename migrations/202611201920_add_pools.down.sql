-- What waits at a gate is claimable again.
update ready r set queue = l.queue from line l where r.queue = -l.id;
update held h set queue = l.queue from line l where h.queue = -l.id;
update waiting w set queue = l.queue from line l where w.queue = -l.id;
drop table admission;
drop table admitted;
drop table slot;
drop table line;
drop table pool;
update schema_guard set version = 7;
