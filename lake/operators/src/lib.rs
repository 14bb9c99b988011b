//! Operators and conditions over the lake and what feeds it: for authors, and for task kinds of the engine.
