//! Tables of the lake on a real Postgres and a folder: every kind of write, concurrent writers, and lost responses.

mod bucket;
mod commit;
mod conflict;
mod equality;
mod merge;
mod owner;
mod partition;
mod read;
mod rest;
mod staging;
mod upkeep;
mod world;
mod write;
