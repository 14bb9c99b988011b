//! What the API says and hears, apart from HTTP: bodies that are read with every mistake at once and described by the same words
//! (`body`), moments, and the nouns whose bodies, answers, filters and description come from one table each (`noun`).

pub mod body;
pub mod fields;
pub mod noun;
mod problem;
pub mod timestamp;

pub use body::Body;
pub use fields::{Fields, Invalid};
pub use noun::{Field, Noun, NounBody};
pub use problem::Problem;

// For the macros of `body`.
pub use {schemars, serde_json};
