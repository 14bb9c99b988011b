//! Tables of the lake, on a real Postgres and a folder: every write, what other writers do meanwhile, and what is left when
//! an answer is lost.

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
