//! What the API says and hears, apart from HTTP: fields that are read with every mistake at once, moments, and the nouns whose
//! bodies, answers, filters and description come from one table each (`noun`).

pub mod fields;
pub mod noun;
mod problem;
pub mod timestamp;

pub use fields::{Fields, Invalid};
pub use noun::{Field, Noun, Sent};
pub use problem::Problem;
