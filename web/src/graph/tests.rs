//! Tests of layouts: nodes and boxes do not overlap, and the layout is deterministic.

use super::*;
use serde_json::{Value, json};

fn dag(tasks: &Value, groups: &Value) -> DagSpec {
    serde_json::from_value(json!({ "dag_id": "d", "tasks": tasks, "groups": groups })).expect("a spec")
}

fn task(id: &str, after: &[&str], group: Option<&str>) -> Value {
    json!({ "task_id": id, "kind": "rust", "after": after, "group_id": group })
}

/// Returns the next number of a deterministic pseudorandom sequence.
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

fn random(tasks: usize, mut seed: u64) -> Graph {
    let groups = ["", "", "a", "b", "a.inner", "c"];
    let groups: Vec<Option<&str>> = groups.iter().map(|id| Some(*id).filter(|id| !id.is_empty())).collect();
    let ids: Vec<String> = (0..tasks).map(|n| format!("task_{n}")).collect();
    let tasks = (0..tasks).map(|n| {
        let many = if n == 0 { 0 } else { next(&mut seed) % 4 };
        let after: Vec<&str> = (0..many).map(|_| ids[n - 1 - next(&mut seed) % n.min(30)].as_str()).collect();
        task(&ids[n], &after, groups[next(&mut seed) % groups.len()])
    });
    Graph::of(&dag(&tasks.collect(), &json!([])))
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a.x < b.right() && b.x < a.right() && a.y < b.bottom() && b.y < a.bottom()
}

fn is_inside(inner: &Rect, outer: &Rect) -> bool {
    inner.x > outer.x && inner.y > outer.y && inner.right() < outer.right() && inner.bottom() < outer.bottom()
}

/// Returns whether `group` is `of` or one of its subgroups.
fn belongs(graph: &Graph, mut group: Option<usize>, of: usize) -> bool {
    while let Some(at) = group {
        if at == of {
            return true;
        }
        group = graph.groups[at].parent;
    }
    false
}

fn check(graph: &Graph) -> Layout {
    check_along(graph, Flow::Down);
    check_along(graph, Flow::Right)
}

fn check_along(graph: &Graph, flow: Flow) -> Layout {
    let layout = lay_out_along(graph, flow);
    assert_eq!(layout.wires.len(), graph.edges.len());
    let all = Rect { x: 0, y: 0, width: layout.width, height: layout.height };
    for (at, node) in layout.nodes.iter().enumerate() {
        assert!(is_inside(node, &all), "{node:?} in {all:?}");
        for other in &layout.nodes[..at] {
            assert!(!overlap(node, other), "{node:?} {other:?}");
        }
        for (of, group) in layout.groups.iter().enumerate().filter(|(_, rect)| rect.width > 0) {
            if belongs(graph, graph.nodes[at].group, of) {
                assert!(is_inside(node, group), "{} out of {}", graph.nodes[at].id, graph.groups[of].id);
            } else {
                assert!(!overlap(node, group), "{} in {}", graph.nodes[at].id, graph.groups[of].id);
            }
        }
    }
    for (at, group) in layout.groups.iter().enumerate() {
        for (before, other) in layout.groups[..at].iter().enumerate() {
            let nested = belongs(graph, Some(at), before);
            assert!(if nested { is_inside(group, other) } else { !overlap(group, other) }, "{group:?} {other:?}");
        }
    }
    layout
}

#[test]
fn nodes_and_groups_of_two_hundred_tasks_do_not_overlap() {
    for seed in 0..20 {
        check(&random(200, seed));
    }
}

#[test]
fn the_same_dag_is_the_same_picture() {
    assert_eq!(lay_out(&random(120, 7)), lay_out(&random(120, 7)));
}

#[test]
fn wires_run_to_the_right_from_side_to_side() {
    let graph = Graph::of(&dag(
        &json!([task("a", &[], None), task("b", &["a"], None), task("c", &["a", "b"], None)]),
        &json!([]),
    ));
    let layout = check(&graph);
    let (a, b, c) = (layout.nodes[0], layout.nodes[1], layout.nodes[2]);
    assert!(a.right() < b.x && b.right() < c.x);
    assert_eq!(layout.wires[0].path, format!("M176 {0}C198 {0} 198 {1} 220 {1}", a.middle(), b.middle()));
    // The long edge passes next to `b` in its rank.
    let (from, rest) = layout.wires[1].path.split_once('H').expect("it runs level for a while");
    let level: i32 = from.rsplit(' ').next().and_then(|y| y.parse().ok()).expect("a number");
    assert!(level < b.y || level > b.bottom(), "{level} {b:?}");
    assert!(rest.ends_with(&format!(" {} {}", c.x, c.middle())), "{rest}");
}

#[test]
fn a_fork_stands_in_the_middle_of_what_follows() {
    let graph =
        Graph::of(&dag(&json!([task("a", &[], None), task("b", &["a"], None), task("c", &["a"], None)]), &json!([])));
    let layout = check(&graph);
    assert_eq!(layout.nodes[0].middle() * 2, layout.nodes[1].middle() + layout.nodes[2].middle());
    assert_eq!((layout.width, layout.height), (396, 156));
}

#[test]
fn two_groups_that_wait_for_each_other_are_drawn_all_the_same() {
    let tasks = json!([
        task("x.one", &[], Some("x")),
        task("y.one", &["x.one"], Some("y")),
        task("x.two", &["y.one"], Some("x")),
        task("y.two", &["x.two"], Some("y")),
    ]);
    check(&Graph::of(&dag(&tasks, &json!([]))));
}

#[test]
fn a_mapped_group_follows_the_list_it_is_mapped_over() {
    let tasks = json!([task("list", &[], None), task("g.a", &[], Some("g")), task("g.b", &["g.a"], Some("g"))]);
    let graph = Graph::of(&dag(&tasks, &json!([{ "group_id": "g", "map": { "each": { "output": "list" } } }])));
    assert_eq!(graph.edges.iter().map(|edge| (edge.from, edge.to)).collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    assert!(graph.groups[0].is_mapped && graph.nodes[1].is_mapped);
    let layout = check(&graph);
    assert_eq!((layout.nodes[0].width, layout.nodes[0].right() < layout.groups[0].x), (158, true));
}

#[test]
fn a_wire_to_the_far_side_of_a_group_passes_beside_what_stands_before() {
    let tasks = json!([
        task("out", &[], None),
        task("g.near", &["out"], Some("g")),
        task("g.far", &["out", "g.near"], Some("g")),
        task("end", &["g.near", "g.far"], None),
    ]);
    let layout = check(&Graph::of(&dag(&tasks, &json!([]))));
    let near = layout.nodes[1];
    // The edge from `out` to `g.far` has a bend next to `g.near`.
    let (before, _) = layout.wires[1].path.split_once('H').expect("it passes");
    let level: i32 = before.rsplit(' ').next().and_then(|y| y.parse().ok()).expect("a number");
    assert!(level < near.y || level > near.bottom(), "{level} {near:?}");
}

#[test]
fn a_dag_without_tasks_is_an_empty_picture() {
    let empty = dag(&json!([]), &json!([{ "group_id": "g" }]));
    assert_eq!((lay_out(&Graph::of(&empty)).nodes.len(), lay_out(&Graph::of(&empty)).width), (0, 36));
    assert!(svg(&empty).ends_with("</svg>\n"));
}

#[test]
fn names_and_groups_and_what_is_unusual_are_shown() {
    let mut spec = dag(
        &json!([
            task("start", &[], None),
            { "task_id": "g.each", "kind": "shell", "after": ["start"], "group_id": "g", "map": { "each": { "value": [1, 2] } } },
            { "task_id": "end", "kind": "rust", "after": ["g.each"], "trigger_rule": "all_done" },
        ]),
        &json!([{ "group_id": "g" }]),
    );
    spec.dag_id = "a<b".into();
    let drawn = svg(&spec);
    for part in [
        "<title>a&lt;b</title>",
        "<title>g.each</title>",
        ">each</text>",
        ">2 ×, shell</text>",
        ">rule all_done</text>",
        "class=\"wire wait\"",
        "class=\"back\"",
        ">1 task</text>",
    ] {
        assert!(drawn.contains(part), "{part} in {drawn}");
    }
}

#[test]
fn a_folded_group_is_one_node_with_the_wires_that_cross_its_border() {
    let tasks = json!([
        task("start", &[], None),
        task("a.one", &["start"], Some("a")),
        task("a.in.two", &["a.one", "start"], Some("a.in")),
        { "task_id": "b", "kind": "rust", "after": ["a.one"], "trigger_rule": "all_done" },
        task("end", &["a.one", "a.in.two", "b"], None),
    ]);
    let of = |graph: &Graph| -> Vec<(String, usize)> {
        graph.nodes.iter().map(|node| (node.id.clone(), node.members.len())).collect()
    };
    let whole = Graph::of(&dag(&tasks, &json!([])));
    let inner = whole.clone().fold(|id| id == "a.in");
    let named = |id: &str, members: usize| (id.to_string(), members);
    assert_eq!(of(&inner), [("start", 0), ("a.one", 0), ("a.in", 1), ("b", 0), ("end", 0)].map(|(id, n)| named(id, n)));
    let outer = whole.fold(|id| id.starts_with('a'));
    assert_eq!(of(&outer), [("start", 0), ("a", 2), ("b", 0), ("end", 0)].map(|(id, n)| named(id, n)));
    let wires: Vec<_> = outer.edges.iter().map(|edge| (edge.from, edge.to, edge.is_lenient)).collect();
    assert_eq!(wires, [(0, 1, false), (1, 2, true), (1, 3, false), (2, 3, false)]);
    assert!(lay_out(&outer).groups.iter().all(|group| group.width == 0), "nothing stands in them any more");
}
