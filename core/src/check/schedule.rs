//! Schedules that can be read, and dates in order.

use super::{Checked, MAX_DURATION_MS, closest};
use crate::spec::Schedule;
use chrono_tz::{TZ_VARIANTS, Tz};

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    match &spec.schedule {
        Schedule::Cron { expression, timezone } => {
            if let Some(message) = cron_problem(expression) {
                dag.about_dag(message, "minute hour day month weekday, for example `0 2 * * *`");
            }
            if timezone.parse::<Tz>().is_err() {
                let hint = match near(timezone) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "use a name of the IANA list, for example `Europe/Berlin`".into(),
                };
                dag.about_dag(format!("timezone `{timezone}` is not known"), hint);
            }
        }
        Schedule::EveryMs(0) => dag.about_dag("it runs every 0 ms", "use `continuous()` for one run after the other"),
        Schedule::EveryMs(ms) if *ms > MAX_DURATION_MS => {
            dag.about_dag("it runs less than once in ten years", "use `once()`");
        }
        Schedule::Assets(assets) if assets.is_empty() => {
            dag.about_dag("it waits for assets but names none", "name them: `on_assets([asset(\"…\")])`");
        }
        Schedule::Continuous if spec.max_active_runs.is_some_and(|runs| runs > 1) => {
            dag.about_dag("a continuous dag has one run after the other", "remove `.max_active_runs(…)`");
        }
        Schedule::Manual | Schedule::EveryMs(_) | Schedule::Once | Schedule::Continuous | Schedule::Assets(_) => {}
    }
    if let (Some(start), Some(end)) = (spec.start, spec.end)
        && start > end
    {
        let (start, end) = (start.to_rfc3339(), end.to_rfc3339());
        dag.about_dag(format!("it starts at {start}, after its end at {end}"), "swap the two dates");
    }
}

/// What is wrong with a cron expression. The one place that knows: the parser of schedules takes it over.
fn cron_problem(expression: &str) -> Option<String> {
    const PRESETS: [&str; 8] =
        ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually"];
    if expression.starts_with('@') {
        return (!PRESETS.contains(&expression)).then(|| format!("cron preset `{expression}` is not known"));
    }
    let fields = expression.split_whitespace().count();
    (fields != 5).then(|| format!("cron expression `{expression}` has {fields} fields, not 5"))
}

/// A zone that was meant: another case, the city alone, or a slip.
fn near(timezone: &str) -> Option<&'static str> {
    let city = |name: &'static str| name.rsplit('/').next().unwrap_or(name);
    let mut names = TZ_VARIANTS.iter().map(|zone| zone.name());
    let same = names.clone().find(|name| name.eq_ignore_ascii_case(timezone));
    same.or_else(|| names.find(|name| city(name).eq_ignore_ascii_case(timezone)))
        .or_else(|| closest(timezone, TZ_VARIANTS.iter().map(|zone| zone.name())))
}
