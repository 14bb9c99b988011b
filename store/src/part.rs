//! Partial updates of objects.

/// New value for one field in a partial update. `None` removes the field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Becomes<T>(pub Option<T>);
