//! The targets: every row with its unit, the value that it must meet and the value that it aims at.

#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub unit: &'static str,
    pub better: Better,
    /// The benchmark fails if this value is not met.
    pub must: Option<f64>,
    pub aim: Option<f64>,
    /// Limit in commits of the same run.
    pub commits: Commits,
    pub ceiling: Ceiling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
}

/// Limit of a value in one-row commits of the same run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Commits {
    Free,
    /// Must hold in addition to the absolute limit, and instead of it on a slow disk.
    Always(f64),
    /// Must hold instead of the absolute limit on a slow disk.
    OnSlowDisk(f64),
}

/// Value that the ratio of a row is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    None,
    Commit,
    ClaimBatch,
}

/// A disk is slow if a one-row commit takes longer than this.
pub const SLOW_COMMIT_MS: f64 = 0.25;

const fn latency(name: &'static str, unit: &'static str, must: f64, aim: f64) -> Target {
    let (must, aim) = (Some(must), Some(aim));
    Target { name, unit, better: Better::Lower, must, aim, commits: Commits::Free, ceiling: Ceiling::Commit }
}

const fn size(name: &'static str, unit: &'static str, must: f64, aim: Option<f64>) -> Target {
    Target { aim, ceiling: Ceiling::None, ..latency(name, unit, must, 0.0) }
}

const fn rate(name: &'static str, must: Option<f64>, aim: Option<f64>) -> Target {
    let unit = "1/s";
    Target { name, unit, better: Better::Higher, must, aim, commits: Commits::Free, ceiling: Ceiling::ClaimBatch }
}

/// Returns a maximum time without a ratio.
pub const fn time(name: &'static str, unit: &'static str, must: f64) -> Target {
    Target { aim: None, ceiling: Ceiling::None, ..latency(name, unit, must, 0.0) }
}

/// Returns a minimum number of rows per second.
pub const fn speed(name: &'static str, must: f64) -> Target {
    Target { ceiling: Ceiling::None, ..rate(name, Some(must), None) }
}

/// Returns a maximum memory size.
pub const fn memory(name: &'static str, must: f64) -> Target {
    size(name, "MB", must, None)
}

pub const ENGINE: [Target; 31] = [
    Target { must: None, aim: None, ceiling: Ceiling::None, ..latency("commit_p50_ms", "ms", 0.0, 0.0) },
    Target { ceiling: Ceiling::None, ..rate("claim_batch_per_s", None, None) },
    latency("light40_total_ms", "ms", 30.0, 12.0),
    Target { commits: Commits::Always(4.0), ..latency("chain100_gap_p50_ms", "ms", 0.5, 0.28) },
    latency("chain100_gap_p95_ms", "ms", 1.2, 0.4),
    Target { commits: Commits::OnSlowDisk(700.0), ..latency("fan1000_total_ms", "ms", 50.0, 15.0) },
    latency("runs200x5_total_ms", "ms", 400.0, 200.0),
    Target { commits: Commits::OnSlowDisk(20.0), ..latency("trigger_to_start_p50_ms", "ms", 5.0, 2.0) },
    Target { must: None, aim: None, ..latency("trigger_to_start_p95_ms", "ms", 0.0, 0.0) },
    latency("cli_trigger_ms", "ms", 40.0, 15.0),
    Target { commits: Commits::OnSlowDisk(10.0), ..latency("gated_chain_gap_p50_ms", "ms", 5.0, 2.0) },
    Target { commits: Commits::OnSlowDisk(20.0), ..latency("asset_to_start_p50_ms", "ms", 50.0, 20.0) },
    Target { ceiling: Ceiling::None, ..latency("schedules200_tick_p99_ms", "ms", 1_000.0, 500.0) },
    latency("start_to_healthy_ms", "ms", 500.0, 250.0),
    rate("noop_tasks_per_s", Some(30_000.0), Some(60_000.0)),
    rate("noop_chain_tasks_per_s", None, None),
    time("metrics_cost_percent", "%", 1.0),
    speed("queued_runs_per_s", 1_000.0),
    speed("topic_records_per_s", 20_000.0),
    size("topic_chain_gap_ratio", "", 1.1, None),
    Target { ceiling: Ceiling::None, ..latency("map100k_total_s", "s", 4.0, 1.2) },
    size("map100k_rss_mb", "MB", 250.0, None),
    latency("followers500_gap_p50_ms", "ms", 0.5, 0.28),
    size("followers500_rss_mb", "MB", 300.0, Some(150.0)),
    Target { ceiling: Ceiling::None, ..latency("big_log_tail_p95_ms", "ms", 200.0, 50.0) },
    size("big_log_rss_mb", "MB", 300.0, None),
    Target { ceiling: Ceiling::None, ..latency("page_p95_ms", "ms", 50.0, 30.0) },
    size("page_kb", "kB", 100.0, None),
    size("idle_rss_mb", "MB", 80.0, Some(40.0)),
    size("idle_cpu_percent", "%", 0.5, Some(0.1)),
    size("idle_queries_per_min", "1/min", 30.0, Some(10.0)),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The row has no target.
    Told,
    /// Meets both the required value and the aim.
    Reached,
    Kept,
    Missed,
}

impl Target {
    /// Judges a value; `commit_ms` is the commit time of the same run.
    pub fn judge(&self, value: f64, commit_ms: Option<f64>) -> Verdict {
        let meets = |limit: f64| match self.better {
            Better::Lower => value <= limit,
            Better::Higher => value >= limit,
        };
        let slow = commit_ms.is_some_and(|commit| commit > SLOW_COMMIT_MS);
        let within = |commits: f64| commit_ms.is_none_or(|commit| value <= commits * commit);
        let figure = self.must.is_none_or(meets);
        let kept = match self.commits {
            Commits::Free => figure,
            Commits::Always(commits) => within(commits) && (slow || figure),
            Commits::OnSlowDisk(commits) => {
                if slow {
                    within(commits)
                } else {
                    figure
                }
            }
        };
        match (kept, self.must, self.aim) {
            (false, ..) => Verdict::Missed,
            (true, None, _) => Verdict::Told,
            (true, _, Some(aim)) if meets(aim) => Verdict::Reached,
            (true, ..) => Verdict::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(name: &str, value: f64, commit_ms: f64) -> Verdict {
        ENGINE.iter().find(|target| target.name == name).unwrap().judge(value, Some(commit_ms))
    }

    #[test]
    fn a_promise_is_kept_or_missed() {
        assert_eq!(judge("light40_total_ms", 11.0, 0.1), Verdict::Reached);
        assert_eq!(judge("light40_total_ms", 29.0, 0.1), Verdict::Kept);
        assert_eq!(judge("light40_total_ms", 31.0, 0.1), Verdict::Missed);
        assert_eq!(judge("noop_tasks_per_s", 29_000.0, 0.1), Verdict::Missed);
        assert_eq!(judge("noop_tasks_per_s", 61_000.0, 0.1), Verdict::Reached);
        assert_eq!(judge("noop_chain_tasks_per_s", 1.0, 0.1), Verdict::Told);
    }

    #[test]
    fn a_gap_is_bound_to_the_commit_and_a_slow_disk_excuses_the_rest() {
        assert_eq!(judge("chain100_gap_p50_ms", 0.45, 0.1), Verdict::Missed);
        assert_eq!(judge("chain100_gap_p50_ms", 0.45, 0.2), Verdict::Kept);
        assert_eq!(judge("chain100_gap_p50_ms", 3.9, 1.0), Verdict::Kept);
        assert_eq!(judge("chain100_gap_p50_ms", 4.1, 1.0), Verdict::Missed);
        assert_eq!(judge("fan1000_total_ms", 60.0, 0.1), Verdict::Missed);
        assert_eq!(judge("fan1000_total_ms", 600.0, 1.0), Verdict::Kept);
        assert_eq!(judge("trigger_to_start_p50_ms", 4.0, 0.1), Verdict::Kept);
    }
}
