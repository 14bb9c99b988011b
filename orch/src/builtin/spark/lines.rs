//! Parses the output of `spark-submit`: log lines with their levels, the progress of stages, and the id of the
//! driver.

use super::super::process::Meaning;
use crate::{Ctx, LogLevel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Minimum time between two reports of the same stage.
const PAUSE: Duration = Duration::from_secs(2);
const MASTER_GAVE_UP: &str = "All masters are unresponsive";

pub(super) struct Lines<'c> {
    ctx: &'c Ctx,
    known: Mutex<SparkProgress>,
}

#[derive(Default)]
struct SparkProgress {
    driver: Option<String>,
    told: Option<(Stage, Instant)>,
}

/// `[Stage 3:=====>    (2 + 1) / 4]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stage {
    number: u32,
    done: u32,
    all: u32,
}

impl<'c> Lines<'c> {
    pub(super) fn new(ctx: &'c Ctx) -> Lines<'c> {
        Lines { ctx, known: Mutex::default() }
    }

    /// Returns the driver's id at the master, in deploy mode `cluster`.
    pub(super) fn driver(&self) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).driver.clone()
    }

    pub(super) fn read(&self, usual: LogLevel, line: &str) -> Meaning {
        if line.is_empty() {
            return Meaning::Nothing;
        }
        if line.trim_start().starts_with("[Stage ") {
            if let Some(stage) = stages(line).pop() {
                self.tell(stage);
            }
            return Meaning::Nothing;
        }
        if let Some(id) = driver_of(line) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).driver = Some(id);
        }
        match level_of(line) {
            // Log lines of Spark are seldom the cause of a failure; the application prints its own error. Only a lost
            // master is reported here.
            Some(level) if line.contains(MASTER_GAVE_UP) => Meaning::Words(level),
            Some(level) => Meaning::Noise(level),
            None if is_frame(line) => Meaning::Noise(usual),
            None => Meaning::Words(usual),
        }
    }

    fn tell(&self, stage: Stage) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = known.told.is_none_or(|(told, at)| {
            told != stage && (told.number != stage.number || stage.done == stage.all || at.elapsed() >= PAUSE)
        });
        if is_news {
            known.told = Some((stage, Instant::now()));
            self.ctx.info(format!("stage {}: {} of {} tasks done", stage.number, stage.done, stage.all));
        }
    }
}

/// Returns all stages that a line shows, in order.
fn stages(line: &str) -> Vec<Stage> {
    let parts = line.split("[Stage ").skip(1);
    parts.filter_map(stage).collect()
}

fn stage(text: &str) -> Option<Stage> {
    let (number, rest) = text.split_once(':')?;
    let (counts, all) = rest.rsplit_once('(')?.1.split_once(") / ")?;
    let (done, _) = counts.split_once(" + ")?;
    let all: String = all.chars().take_while(char::is_ascii_digit).collect();
    Some(Stage { number: number.parse().ok()?, done: done.trim().parse().ok()?, all: all.parse().ok()? })
}

/// Returns the level of a log4j line: `26/11/23 07:30:01 WARN TaskSetManager: …`
fn level_of(line: &str) -> Option<LogLevel> {
    let mut words = line.split_ascii_whitespace();
    let (day, time) = (words.next()?, words.next()?);
    let begins_with_digit = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    if !begins_with_digit(day) || !begins_with_digit(time) || !time.contains(':') {
        return None;
    }
    match words.next()? {
        "TRACE" | "DEBUG" => Some(LogLevel::Debug),
        "INFO" => Some(LogLevel::Info),
        "WARN" => Some(LogLevel::Warning),
        "ERROR" | "FATAL" => Some(LogLevel::Error),
        _ => None,
    }
}

/// Returns true for a line of a Java stack trace.
fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with("at ") || (text.starts_with("... ") && text.ends_with(" more"))
}

/// Finds an id such as `driver-20261123073001-0004` anywhere in the line.
fn driver_of(line: &str) -> Option<String> {
    let is_id = |word: &str| {
        let mut parts = word.strip_prefix("driver-")?.split('-');
        let digits = |part: Option<&str>, most| {
            part.is_some_and(|part| part.len() == most && part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        (digits(parts.next(), 14) && digits(parts.next(), 4) && parts.next().is_none()).then(|| word.to_owned())
    };
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').find_map(is_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_has_the_newest_stage() {
        for (line, expected) in [
            ("[Stage 3:=====>        (2 + 1) / 4]", Some((3, 2, 4))),
            ("[Stage 0:>  (0 + 2) / 2][Stage 1:>     (0 + 0) / 200]", Some((1, 0, 200))),
            ("[Stage 0:>", None),
            ("[Stage x:> (0 + 2) / 2]", None),
        ] {
            let found = stages(line).pop().map(|stage| (stage.number, stage.done, stage.all));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn lines_have_the_levels_that_spark_gives_them() {
        for (line, expected) in [
            ("26/11/23 07:30:01 WARN Utils: no IP", Some(LogLevel::Warning)),
            ("26/11/23 07:30:01 INFO SparkContext: Running", Some(LogLevel::Info)),
            ("26/11/23 07:30:01 ERROR Executor: lost", Some(LogLevel::Error)),
            ("3 rows: INFO", None),
            ("ValueError: 7", None),
        ] {
            assert_eq!(level_of(line), expected, "{line}");
        }
        assert!(is_frame("\tat org.apache.spark.Foo(Foo.scala:1)") && is_frame("\t... 12 more"));
        assert!(!is_frame("attention"));
    }

    #[test]
    fn a_driver_is_known_by_its_id() {
        let found = driver_of("INFO ClientEndpoint: Driver successfully submitted as driver-20261123073001-0004, …");
        assert_eq!(found.as_deref(), Some("driver-20261123073001-0004"));
        assert_eq!(driver_of("driver-memory and driver-1-2"), None);
    }
}
