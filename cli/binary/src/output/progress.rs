//! Progress of a long operation, on a line of standard error that is overwritten. It is shown only in a terminal.

use super::{CLEAR_LINE, is_watched, table, terminal};
use std::time::{Duration, Instant};

/// Update interval. Users cannot read faster updates, and shorter operations need no progress line.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Runs `work`. `how_far` returns the progress text for the elapsed time.
pub async fn with_progress<T>(work: impl Future<Output = T>, how_far: impl Fn(Duration) -> String) -> T {
    if !is_watched() {
        return work.await;
    }
    let mut is_shown = false;
    let show = |took| {
        is_shown = true;
        eprint!("{CLEAR_LINE}{}", one_line(&how_far(took)));
    };
    let done = show_while(work, SHOW_EVERY, show).await;
    if is_shown {
        eprint!("{CLEAR_LINE}");
    }
    done
}

async fn show_while<T>(work: impl Future<Output = T>, every: Duration, mut show: impl FnMut(Duration)) -> T {
    let began = Instant::now();
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(every, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => show(began.elapsed()),
        }
    }
}

/// Cuts the text to the width of the terminal, because a wrapped line cannot be overwritten.
fn one_line(text: &str) -> String {
    let text = &terminal::escape(text);
    match terminal_size::terminal_size_of(std::io::stderr()) {
        Some((width, _)) => table::cut(text, usize::from(width.0).saturating_sub(1)),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn what_takes_long_is_shown_until_it_is_done() {
        let (enough, mut shown) = (Notify::new(), 0);
        let work = async {
            enough.notified().await;
            7
        };
        let show = |_| {
            shown += 1;
            if shown == 2 {
                enough.notify_one();
            }
        };
        assert_eq!(show_while(work, Duration::from_millis(1), show).await, 7);
        assert!(shown >= 2, "{shown}");
        let mut shown = 0;
        assert_eq!(show_while(async { 8 }, Duration::from_mins(1), |_| shown += 1).await, 8);
        assert_eq!(shown, 0, "it was done at once");
    }
}
