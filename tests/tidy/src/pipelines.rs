//! Rules for the pipelines of `dags/src`: they share only `crate::common`, and leave locks, arrow kernels and commits to it.

use crate::workspace::{Text, assert_none, texts};

const PIPELINES: [&str; 5] = ["analytics", "retail", "taxi", "users", "weather"];

/// Code that a pipeline does not need, and what to use instead.
const BANNED: [(&str, &str); 3] = [
    ("Mutex", "share state in `crate::common`"),
    ("arrow::compute::kernels", "write it in SQL"),
    ("ctx.commit(", "publish through `orch_lake::publish::Publisher`"),
];

/// Returns the pipeline that a file belongs to.
fn pipeline_of(file: &Text) -> Option<&'static str> {
    let path = file.path.strip_prefix("dags/src").ok()?;
    PIPELINES.into_iter().find(|name| path.starts_with(name) || path.with_extension("").as_os_str() == *name)
}

/// Returns the lines of a file that contain a text, as `FILE:LINE`.
fn lines_with<'a>(file: &'a Text, searched: &'a str) -> impl Iterator<Item = String> + 'a {
    let found = file.content.lines().zip(1..).filter(move |(line, _)| line.contains(searched));
    found.map(|(_, number)| format!("{}:{number}", file.name()))
}

#[test]
fn pipelines_share_only_common_code() {
    let (mut offenders, mut seen) = (Vec::new(), 0);
    for file in texts().iter().filter(|file| file.is_rust()) {
        let Some(own) = pipeline_of(file) else { continue };
        seen += 1;
        for other in PIPELINES.into_iter().filter(|other| *other != own) {
            let path = format!("crate::{other}::");
            offenders.extend(lines_with(file, &path).map(|line| format!("{line} `{path}`")));
        }
    }
    assert!(seen > 50, "found {seen} files of pipelines");
    assert_none("a pipeline uses code of another one; move it to dags/src/common", &offenders);
}

#[test]
fn pipelines_leave_locks_kernels_and_commits_to_shared_code() {
    let mut offenders = Vec::new();
    for file in texts().iter().filter(|file| file.is_rust() && pipeline_of(file).is_some()) {
        for (code, instead) in BANNED {
            offenders.extend(lines_with(file, code).map(|line| format!("{line} `{code}`: {instead}")));
        }
    }
    assert_none("low-level code in a pipeline", &offenders);
}
