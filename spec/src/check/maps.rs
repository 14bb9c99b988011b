//! Checks maps: no nested maps, elements only inside their map, and one output or all outputs as the upstream provides.

use super::Checked;
use crate::{GroupSpec, MapSpec, Source, TaskSpec};
use serde_json::Value;

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    for group in &spec.groups {
        group_map(dag, group);
    }
    for task in &spec.tasks {
        let around = dag.mapped_group(task);
        if let Some(map) = &task.map {
            if let Some(group) = around {
                let message = format!("it is mapped inside the mapped group `{}`", group.group_id);
                let hint = one_map(group);
                dag.about_task(task, message, hint);
            }
            for problem in map_problems(dag, map) {
                dag.about_task(task, problem.0, problem.1);
            }
        }
        for source in task.inputs.iter().map(|i| &i.source).chain(task.when.iter().map(|c| &c.source)) {
            task_source(dag, task, around, source);
        }
    }
}

fn group_map(dag: &mut Checked<'_>, group: &GroupSpec) {
    let Some(map) = &group.map else { return };
    let outer = dag.spec.mapped_group(Some(&group.group_id)).filter(|outer| outer.group_id != group.group_id);
    if let Some(outer) = outer {
        let message = format!("group `{}` is mapped inside the mapped group `{}`", group.group_id, outer.group_id);
        let hint = one_map(outer);
        dag.about_group(group, message, hint);
    }
    for (message, hint) in map_problems(dag, map) {
        dag.about_group(group, format!("group `{}`: {message}", group.group_id), hint);
    }
}

/// Returns the hint for a map inside the map of this group.
fn one_map(outer: &GroupSpec) -> String {
    format!("remove this map, and map group `{}` over every pair: `cross(a, b)`", outer.group_id)
}

/// Returns the problems of a map's lists, as message and hint.
fn map_problems(dag: &Checked<'_>, map: &MapSpec) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for source in map.sources() {
        match source {
            Source::Value(Value::Array(_)) | Source::List(_) => {}
            Source::Value(other) => {
                found.push((format!("it maps over {other}, which is not a list"), "give a list".into()));
            }
            Source::Params => {
                found.push((
                    "it maps over the params, which are not a list".into(),
                    "map over the output of a task".into(),
                ));
            }
            Source::Element { .. } => {
                found.push(("it maps over the element of a map".into(), "map over `cross(a, b)`".into()));
            }
            Source::Output(id) | Source::Outputs(id) | Source::Collected(id) => {
                found.extend(of_upstream(dag, None, id, matches!(source, Source::Output(_))));
            }
        }
    }
    if map.sources().is_empty() {
        found.push(("it maps over nothing".into(), "give a list".into()));
    }
    if let MapSpec::Zip(sources) = map {
        let known = sources
            .iter()
            .filter_map(|s| if let Source::Value(Value::Array(list)) = s { Some(list.len()) } else { None });
        let lengths: Vec<String> = known.map(|length| length.to_string()).collect();
        if lengths.windows(2).any(|pair| pair[0] != pair[1]) {
            let message = format!("it zips lists of {} elements", lengths.join(" and "));
            found.push((message, "give lists of the same length, or use `cross(a, b)`".into()));
        }
    }
    found
}

fn task_source(dag: &mut Checked<'_>, task: &TaskSpec, around: Option<&GroupSpec>, source: &Source) {
    match source {
        Source::List(sources) => sources.iter().for_each(|s| task_source(dag, task, around, s)),
        Source::Value(_) | Source::Params => {}
        Source::Output(id) | Source::Outputs(id) | Source::Collected(id) => {
            if let Some((message, hint)) = of_upstream(dag, around, id, matches!(source, Source::Output(_))) {
                dag.about_task(task, message, hint);
            }
        }
        Source::Element { group: None, part } => match &task.map {
            None => dag.about_task(
                task,
                "it uses the element of another task's map",
                "keep the element inside its `d.map` closure",
            ),
            Some(map) => part_exists(dag, task, map, *part),
        },
        Source::Element { group: Some(id), part } => match around.filter(|group| group.group_id == *id) {
            None => {
                let message = format!("it uses the element of group `{id}` outside that group");
                dag.about_task(task, message, "keep the element inside the closure of its `map_group`");
            }
            Some(GroupSpec { map: Some(map), .. }) => part_exists(dag, task, map, *part),
            Some(_) => {}
        },
    }
}

fn part_exists(dag: &mut Checked<'_>, task: &TaskSpec, map: &MapSpec, part: Option<usize>) {
    let parts = if matches!(map, MapSpec::Each(_)) { 0 } else { map.sources().len() };
    if let Some(part) = part.filter(|part| *part >= parts) {
        let message = format!("it takes part {part} of an element that has {parts}");
        dag.about_task(task, message, "parts count from 0, and only `zip` and `cross` have them");
    }
}

/// Checks a source. `one` means that it reads a single output, otherwise all outputs as a list.
fn of_upstream(dag: &Checked<'_>, around: Option<&GroupSpec>, id: &str, one: bool) -> Option<(String, String)> {
    let upstream = dag.task_of(id)?;
    let group = dag.mapped_group(upstream).map(|group| group.group_id.as_str());
    let same_element = group.is_some() && group == around.map(|group| group.group_id.as_str());
    match (one, group) {
        (true, _) if upstream.map.is_some() => Some((
            format!("it takes one output of `{id}`, which is mapped and gives a list"),
            "take the list, or map over it".into(),
        )),
        (true, Some(group)) if !same_element => Some((
            format!("it takes the output of one element of `{id}`"),
            format!("give it back from the closure of group `{group}`: outside it is a `Mapped`"),
        )),
        (false, Some(group)) if same_element => Some((
            format!("it takes all outputs of `{id}` inside the same mapped group `{group}`"),
            "take the output of the same element, or join outside the group".into(),
        )),
        (false, None) if upstream.map.is_none() => {
            Some((format!("it takes the list of all outputs of `{id}`, which is not mapped"), "take its output".into()))
        }
        _ => None,
    }
}
