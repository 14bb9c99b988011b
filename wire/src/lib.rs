//! The data of the API, independent of HTTP: request bodies that are described by the code that reads them (`body`),
//! timestamps, and nouns whose bodies, responses, filters and descriptions come from one table each (`noun`).

pub mod body;
pub mod fields;
pub mod noun;
mod problem;
pub mod timestamp;

pub use body::Body;
pub use fields::{Fields, Invalid};
pub use noun::{Field, Noun, NounBody};
pub use problem::Problem;

// The macros of `body` use these.
pub use {schemars, serde_json};
