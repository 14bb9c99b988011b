//! Conversions into narrower number types. Values that do not fit become the maximum, so no count wraps around.

use orch_core::plan::TaskIdx;

/// Returns a count as a Postgres `integer`.
pub fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Returns a count of Postgres. Negative values become 0.
pub fn size(count: i64) -> usize {
    usize::try_from(count.max(0)).unwrap_or(usize::MAX)
}

/// Returns the index of a task. No plan has more than `MAX_TASKS` tasks.
pub fn task(place: usize) -> TaskIdx {
    TaskIdx::try_from(place).unwrap_or(TaskIdx::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_the_most_that_does() {
        assert_eq!((int(7), int(usize::MAX)), (7, i32::MAX));
        assert_eq!((size(7), size(-1)), (7, 0));
        assert_eq!((task(7), task(70_000)), (7, TaskIdx::MAX));
    }
}
