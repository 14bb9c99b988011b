//! SQL over real tables: results, pruning, time travel, limits, rejected queries, and the data behind the lake pages.

#[path = "sql/clock.rs"]
mod clock;
#[path = "sql/depth.rs"]
mod depth;
#[path = "sql/exact.rs"]
mod exact;
#[path = "sql/limits.rs"]
mod limits;
#[path = "sql/query.rs"]
mod query;
#[path = "sql/versions.rs"]
mod versions;
#[path = "sql/view.rs"]
mod view;
#[path = "sql/world.rs"]
mod world;
