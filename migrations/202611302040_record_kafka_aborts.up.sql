-- Aborts of the Kafka client that ended a worker. After the second one the streams of the connection stop, so that the others run on.
create table kafka_abort (
    connection text not null,
    at timestamptz not null default now()
);

update schema_guard set version = 42;
