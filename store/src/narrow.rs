//! Saturating conversions to narrower integer types. A value that does not fit becomes the maximum of the target type.

use orch_core::plan::TaskIdx;

/// Converts a count to a Postgres `integer`. A larger value becomes the maximum.
pub fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Converts a count from Postgres to `usize`. A negative value becomes 0.
pub fn size(count: i64) -> usize {
    usize::try_from(count.max(0)).unwrap_or(usize::MAX)
}

/// Converts a task index. It always fits, because no plan has more than `MAX_TASKS` tasks.
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
