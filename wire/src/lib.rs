//! The data of the API, independent of HTTP: request bodies (`body`), timestamps, and named objects that users manage
//! (`noun`). The code that parses a request body also generates its description, and one table per noun defines its
//! bodies, responses and filters.

pub mod body;
pub mod fields;
pub mod noun;
mod problem;
pub mod timestamp;

pub use body::Body;
pub use fields::{Fields, Invalid};
pub use noun::{Field, Noun, NounBody};
pub use problem::Problem;

// The macros of the module `body` use these crates.
pub use {schemars, serde_json};
