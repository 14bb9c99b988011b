//! What the API says and hears, apart from HTTP: fields that are read with every mistake at once, and moments.

pub mod fields;
mod problem;
pub mod timestamp;

pub use fields::{Fields, Invalid};
pub use problem::Problem;
