//! Things that are changed part by part.

/// What a part becomes; `None`: it is taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Becomes<T>(pub Option<T>);
