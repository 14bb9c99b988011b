//! Changes of single parts of an object.

/// The new value of a part; `None` removes the part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Becomes<T>(pub Option<T>);
