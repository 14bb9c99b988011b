-- The source: trips, and the tables that they refer to. Deletes and updates carry the whole old row.
create schema if not exists taxi;
create table if not exists taxi.payment_types (id integer primary key, name text not null, description text);
create table if not exists taxi.vendors (id integer primary key, name text not null, description text);
create table if not exists taxi.trips (
    id serial primary key,
    vendor_id integer,
    pickup_datetime timestamp,
    dropoff_datetime timestamp,
    passenger_count integer,
    trip_distance decimal(8,2),
    pickup_longitude decimal(18,14),
    pickup_latitude decimal(18,14),
    dropoff_longitude decimal(18,14),
    dropoff_latitude decimal(18,14),
    payment_type integer,
    fare_amount decimal(8,2),
    extra decimal(8,2),
    mta_tax decimal(8,2),
    tip_amount decimal(8,2),
    tolls_amount decimal(8,2),
    total_amount decimal(8,2),
    created_at timestamp not null default now(),
    updated_at timestamp not null default now()
);
-- Batches that were written, so that a retry does not write a batch again.
create table if not exists taxi.generated (run_id text primary key, batch bigint not null generated always as identity);
create or replace function taxi.touch() returns trigger language plpgsql as $$
begin
    new.updated_at = now();
    return new;
end $$;
create or replace trigger touch before update on taxi.trips for each row execute function taxi.touch();
alter table taxi.trips replica identity full;
alter table taxi.payment_types replica identity full;
alter table taxi.vendors replica identity full;
insert into taxi.payment_types (id, name, description) values
    (1, 'Credit card', 'Paid by credit card'), (2, 'Cash', 'Paid in cash'), (3, 'No charge', 'Nothing was charged'),
    (4, 'Dispute', 'The fare is disputed'), (5, 'Unknown', 'Not known'), (6, 'Voided trip', 'The trip was voided')
    on conflict do nothing;
insert into taxi.vendors (id, name, description) values
    (1, 'Creative Mobile Technologies', 'CMT'), (2, 'VeriFone', 'VTS'), (3, 'Digital Dispatch Systems', 'DDS')
    on conflict do nothing;
do $$ begin
    if not exists (select from pg_publication where pubname = 'dbz_publication') then
        create publication dbz_publication for table taxi.trips, taxi.payment_types, taxi.vendors;
    end if;
end $$;
