//! Tests of DAG files: the structures that they become, and the messages for wrong ones.

use super::*;
use orch_spec::{Location, Role, Source, TaskSpec, TriggerRule};
use serde_json::{Value, json};

fn dag(text: &str) -> DagSpec {
    parsed(text).unwrap_or_else(|problems| panic!("{}", words(&problems))).remove(0)
}

fn parsed(text: &str) -> Result<Vec<DagSpec>, Vec<FileProblem>> {
    parse("a.yaml", "/dags", text.as_bytes())
}

fn words(problems: &[FileProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Each entry of `expected` is part of a line `line:column: message / hint` that must be reported.
fn wrong(text: &str, expected: &[&str]) {
    let problems = parsed(text).expect_err(text);
    let said: Vec<String> =
        problems.iter().map(|p| format!("{}:{}: {} / {}", p.line, p.column, p.message, p.hint)).collect();
    for one in expected {
        assert!(said.iter().any(|said| said.contains(one)), "{one}\nis not said of\n{text}\nbut\n{}", said.join("\n"));
    }
}

fn task<'a>(dag: &'a DagSpec, id: &str) -> &'a TaskSpec {
    dag.task(id).unwrap_or_else(|| panic!("no task {id}"))
}

/// A document with every key of every table and every kind of task.
const EVERYTHING: &str = include_str!("tests/everything.yaml");

#[test]
fn every_key_is_read_and_comes_back() {
    let first = dag(EVERYTHING);
    let text = export(&first).expect("it is a file");
    let again = parse("a.yaml", "/dags", text.as_bytes());
    let again = again.unwrap_or_else(|problems| panic!("{}\n{text}", words(&problems))).remove(0);
    let (one, other) = (without_lines(&first), without_lines(&again));
    assert_eq!(one, other, "{text}");
    assert_eq!(first.version(), again.version());
    assert_eq!(export(&again), Ok(text));
}

fn without_lines(spec: &DagSpec) -> Value {
    let mut spec = spec.clone();
    spec.location = Location::default();
    spec.groups.iter_mut().for_each(|group| group.location = Location::default());
    spec.tasks.iter_mut().for_each(|task| (task.defined, task.added) = Default::default());
    serde_json::to_value(spec).expect("a spec is JSON")
}

/// Ensures that the sample, and with it the test of the export, covers new keys.
#[test]
fn the_sample_of_everything_has_every_key() {
    fn keys(shape: &keys::Shape, found: &mut Vec<&'static str>) {
        match shape {
            keys::Shape::Object(table) => table.iter().for_each(|key| {
                found.push(key.name);
                keys(key.shape, found);
            }),
            keys::Shape::Either(shapes) => shapes.iter().for_each(|shape| keys(shape, found)),
            keys::Shape::List(inner) | keys::Shape::Table(inner) => keys(inner, found),
            _ => {}
        }
    }
    let mut all = Vec::new();
    for table in [keys::DAG, keys::DAG_OPTIONS, keys::TASK, keys::GROUP, keys::OPTIONS, keys::SENSOR, keys::SENSORS] {
        table.iter().for_each(|key| {
            all.push(key.name);
            keys(key.shape, &mut all);
        });
    }
    keys::KINDS.iter().for_each(|kind| {
        all.push(kind.name);
        keys(&kind.shape, &mut all);
    });
    let missing: Vec<_> = all.iter().filter(|key| !EVERYTHING.contains(&format!("{key}:"))).collect();
    assert!(missing.is_empty(), "{missing:?} are in no line of everything.yaml");
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = json_schema();
    let document = node::read("a.yaml", EVERYTHING.as_bytes()).expect("it is YAML")[0].json();
    let violations = orch_spec::params::violations(&schema, &document);
    assert!(violations.is_empty(), "{violations:?}");
    let unknown = json!({ "dag_id": "a", "tasks": { "t": { "bash": "true" } }, "shedule": "@daily" });
    assert!(!orch_spec::params::violations(&schema, &unknown).is_empty());
}

#[test]
fn templates_make_edges() {
    let dag = dag(
        "dag_id: a\nparams: {x: 1}\ntasks:\n  b: {bash: {command: 'cat', env: {N: '{{ upstream.z.output.n }}'}}}\n  \
        z: {python: 'print(1)'}\n  c: {http: 'https://x/{{ upstream.b.output }}'}\n",
    );
    let order: Vec<&str> = dag.tasks.iter().map(|task| task.task_id.as_str()).collect();
    assert_eq!(order, ["z", "b", "c"]);
    let input = &task(&dag, "b").inputs[0];
    assert_eq!((input.name.as_str(), &input.source), ("upstream.z", &Source::Output("z".into())));
    assert_eq!(task(&dag, "z").added.line, 5);
    assert!(is_of_file(task(&dag, "z")));
}

#[test]
fn names_are_looked_up_from_inside_groups() {
    let dag = dag(
        "dag_id: a\ntasks:\n  end: {bash: 'true', after: g}\n  x: {bash: 'true'}\n  g:\n    retries: 2\n    \
        tasks:\n      one: {bash: 'true', after: x}\n      x: {bash: 'true'}\n      two: {bash: 'true', after: [one]}\n",
    );
    assert_eq!(task(&dag, "g.one").after, ["g.x"]);
    assert_eq!(task(&dag, "end").after, ["g.two"]);
    assert_eq!((task(&dag, "g.two").options.retries, task(&dag, "x").options.retries), (Some(2), None));
}

#[test]
fn a_task_may_move_within_its_file() {
    let one = dag("dag_id: a\ntasks:\n  x: {bash: 'true'}\n  y: {bash: 'true'}\n");
    let other = dag("# moved\ndag_id: a\ntasks:\n  y: {bash: 'true'}\n  x: {bash: 'true'}\n");
    assert_eq!(one.version(), other.version());
}

#[test]
fn setups_and_teardowns() {
    let dag = dag(
        "dag_id: a\ndefaults: {trigger_rule: none_failed}\ntasks:\n  up: {bash: 'true', setup: true, trigger_rule: all_success}\n  \
        work: {bash: 'true', after: up, trigger_rule: all_success}\n  down: {bash: 'true', teardown: up, after: work}\n",
    );
    assert_eq!((task(&dag, "up").role, task(&dag, "down").role), (Role::Setup, Role::Teardown));
    assert_eq!(task(&dag, "down").after, ["work", "up"]);
}

#[test]
fn a_group_waits_with_the_tasks_with_which_it_begins() {
    let dag = dag("dag_id: a\ntasks:\n  x: {bash: 'true'}\n  before:\n    tasks:\n      one: {bash: 'true'}\n      \
        two: {bash: 'true', after: one}\n  g:\n    after: [x, before]\n    tasks:\n      p: {bash: 'true'}\n      \
        q: {bash: 'true', after: p}\n      r: {value: '{{ upstream.q.output }}'}\n      inner:\n        after: p\n        \
        tasks:\n          s: {bash: 'true'}\n          t: {bash: 'true', after: s}\n      free:\n        tasks:\n          \
        u: {bash: 'true', after: x}\n  end: {bash: 'true', after: g}\n");
    let after = |id: &str| task(&dag, id).after.clone();
    assert_eq!(after("g.p"), ["x", "before.two"]);
    assert_eq!(after("g.q"), ["g.p"]);
    assert!(after("g.r").is_empty(), "its template makes it wait");
    assert_eq!(after("g.inner.s"), ["g.p"], "a group inside waits where it stands");
    assert_eq!(after("g.inner.t"), ["g.inner.s"]);
    assert_eq!(after("g.free.u"), ["x", "before.two"], "each once");
    let mut end = after("end");
    end.sort_unstable();
    assert_eq!(end, ["g.free.u", "g.inner.t", "g.r"], "what a group inside waits for does not end it");
    let text = export(&dag).expect("a file can say it");
    assert_eq!(parsed(&text).expect(&text)[0].version(), dag.version(), "{text}");
}

#[test]
fn a_group_waits_for_nothing_that_is_not_there_or_in_it() {
    let with = |after: &str| {
        format!(
            "dag_id: a\ntasks:\n  extract: {{bash: 'true'}}\n  o:\n    tasks:\n      g:\n        after: {after}\n        \
            tasks:\n          in: {{bash: 'true'}}\n          x: {{bash: 'true', after: in}}\n  x: {{bash: 'true'}}\n"
        )
    };
    dag(&with("extract"));
    wrong(&with("extrct"), &["7:16: there is no task `extrct` / did you mean `extract`?"]);
    wrong(
        &with("[g.in]"),
        &["7:17: group `o.g` waits for task `o.g.in`, which is in it / name a task or a group outside"],
    );
    wrong(&with("g"), &["7:16: group `o.g` waits for group `o.g`, which is itself"]);
    wrong(&with("o"), &["7:16: group `o.g` waits for group `o`, in which it is"]);
    wrong(&with("x"), &["7:16: group `o.g` waits for `x`, and `o.g.in` has another of that name near it / give one"]);
    wrong(&with("{a: b}"), &["`after` cannot be an object"]);
    wrong(
        "dag_id: a\ntasks:\n  g: {after: z, tasks: {t: {bash: a}}}\n  z: {bash: b, after: g}\n",
        &["dag `a`, task `g.t`: it is in a cycle of dependencies: `g.t` → `z` → `g.t`"],
    );
    wrong(
        "dag_id: a\ntasks:\n  g: {after: h, tasks: {t: {bash: a}}}\n  h: {after: g, tasks: {t: {bash: b}}}\n",
        &["it is in a cycle of dependencies: `g.t` → `h.t` → `g.t`"],
    );
}

#[test]
fn a_teardown_says_setups_last_as_an_export_does() {
    let file = "dag_id: a\ntasks:\n  up: {bash: 'true', setup: true}\n  work: {bash: 'true', after: up}\n  g:\n    \
        after: [up, work]\n    tasks:\n      down: {bash: 'true', teardown: true}\n";
    let dag = dag(file);
    assert_eq!(task(&dag, "g.down").after, ["work", "up"]);
    let text = export(&dag).expect("a file can say it");
    assert_eq!(parsed(&text).expect(&text)[0].version(), dag.version(), "{text}");
}

#[test]
fn a_teardown_may_stand_without_a_setup() {
    let of = |said: &str| {
        let file = format!(
            "dag_id: a\ndefaults: {{trigger_rule: none_failed}}\ntasks:\n  work: {{bash: 'true'}}\n  \
            down: {{bash: 'true', {said}after: work}}\n"
        );
        let dag = dag(&file);
        let down = task(&dag, "down");
        (down.role, down.after.clone(), down.options.trigger_rule)
    };
    let (after, rule) = (vec!["work".to_string()], Some(TriggerRule::AllDoneSetupSuccess));
    assert_eq!(of("teardown: true, "), (Role::Teardown, after.clone(), rule));
    assert_eq!(of("teardown: [], "), (Role::Teardown, after.clone(), rule));
    assert_eq!(of("teardown: false, "), (Role::Work, after, Some(TriggerRule::NoneFailed)));
    // Like any teardown, it is not the last task of its group.
    let grouped = dag(
        "dag_id: a\ntasks:\n  g:\n    tasks:\n      work: {bash: 'true'}\n      down: {bash: 'true', teardown: true, after: work}\n  \
        z: {bash: 'true', after: g}\n",
    );
    assert_eq!(task(&grouped, "z").after, ["g.work"]);
    let text = export(&grouped).expect("a file can say it");
    assert!(text.contains("teardown: true"), "{text}");
    assert_eq!(dag(&text).version(), grouped.version());
}

#[test]
fn maps_are_over_lists_or_outputs() {
    let dag = dag(
        "dag_id: a\ntasks:\n  l: {value: [1, 2]}\n  m: {map: '{{ upstream.l.output }}', value: '{{ element }}'}\n  \
        n: {map: '{{ upstream.m.output }}', value: '{{ element }}{{ map_index }}'}\n  s: {value: '{{ upstream.n.output }}'}\n  \
        g:\n    map: {cross: [[1, 2], '{{ upstream.l.output }}']}\n    tasks:\n      a: {value: '{{ element[0] }}'}\n      \
        b: {value: '{{ upstream.a.output }}'}\n  t: {value: '{{ upstream.g.b.output }}'}\n",
    );
    let map = |id: &str| serde_json::to_value(&task(&dag, id).map).expect("JSON");
    assert_eq!(map("m"), json!({ "each": { "output": "l" } }));
    assert_eq!(map("n"), json!({ "each": { "collected": "m" } }));
    let source = |id: &str| task(&dag, id).inputs[0].source.clone();
    assert_eq!(source("s"), Source::Outputs("n".into()));
    assert_eq!(source("g.a"), Source::Element { group: Some("g".into()), part: None });
    assert_eq!(source("g.b"), Source::Output("g.a".into()));
    assert_eq!(source("t"), Source::Outputs("g.b".into()));
}

#[test]
fn a_schedule_of_null_is_no_schedule() {
    let dag = dag("dag_id: a\nschedule: null\ntasks:\n  t: {bash: 'true'}\n");
    assert_eq!(dag.schedule, orch_spec::Schedule::Manual);
    wrong(
        "dag_id: a\nschedule: false\ntasks:\n  t: {bash: 'true'}\n",
        &["2:11: `schedule` cannot be a boolean / write a text"],
    );
}

#[test]
fn errors_have_a_line_and_a_hint() {
    let a = "dag_id: a\ntasks:\n  t: {bash: 'true'}\n";
    wrong("", &["0:0: the file is empty"]);
    wrong("dag_id: a\ndag_id: b\n", &["2:1: `dag_id` is written twice, first at line 1"]);
    wrong("dag_id: [\n", &["it is not YAML"]);
    wrong("- a\n", &["1:1: a DAG cannot be a list / remove the `- `"]);
    wrong(&format!("{a}shedule: '@daily'\n"), &["4:1: unknown key `shedule` in a DAG / did you mean `schedule`?"]);
    wrong(
        &format!("{a}start_date: 2025-01-01\n"),
        &["4:1: unknown key `start_date` in a DAG / here it is called `start`"],
    );
    wrong("dag_id: a\n", &["1:1: `tasks` is missing in a DAG"]);
    wrong("dag_id: a\ntasks: {}\nschedule: '61 * * * *'\n", &["3:11: "]);
    wrong(&format!("{a}retries: 1\n"), &["unknown key `retries` in a DAG"]);
    wrong(
        "dag_id: a\ntasks:\n  t: {bash: 'true', retries: many}\n",
        &["3:30: `retries` cannot be `many` / write a whole number, 0 or more"],
    );
    wrong("dag_id: a\ntasks:\n  t: {bash: 'true', retry_delay: 5 parsecs}\n", &["`5 parsecs` / write a time such as"]);
    wrong("dag_id: a\ntasks:\n  t: {bash: 'true', trigger_rule: all_don}\n", &["did you mean `all_done`?"]);
    wrong("dag_id: a\ntasks:\n  t: {retries: 1}\n", &["3:6: task `t` does nothing"]);
    wrong("dag_id: a\ntasks:\n  t: {bash: x, python: y}\n", &["task `t` is both `bash` and `python`"]);
    wrong("dag_id: a\ntasks:\n  t: {bsh: x}\n", &["3:7: unknown key `bsh` in task `t` / did you mean `bash`?"]);
    wrong("dag_id: a\ntasks:\n  - id: t\n", &["3:3: `tasks` cannot be a list / name each task by its key"]);
    wrong(
        "dag_id: a\ntasks:\n  t: {bash: x, after: tt}\n  t2: {bash: y}\n",
        &["there is no task `tt` / did you mean `t"],
    );
    wrong(
        "dag_id: a\ntasks:\n  x: {bash: a, after: y}\n  y: {bash: b, after: x}\n",
        &["3:3: dag `a`, task `x`: it is in a cycle of dependencies: `x` → `y` → `x`"],
    );
    wrong(
        "dag_id: a\ntasks:\n  t: {approval: {body: x}}\n",
        &["`subject` is missing in `approval` / add a line such as `subject: Publish the orders?`"],
    );
    wrong("dag_id: a\nstart: tomorrow\ntasks: {}\n", &["2:8: `tomorrow` is not a date"]);
    let required = "dag_id: a\nschedule: '@daily'\nparams: {x: {type: integer}, y: 1}\ntasks: {}\n";
    wrong(
        required,
        &["the param `x` has no default, but the dag has a schedule, whose runs get no params / give the param"],
    );
    dag(&required.replace("schedule: '@daily'\n", ""));
    wrong("dag_id: a\nparams: {x: {typ: 1}}\ntasks: {}\n", &["is an object but not a JSON Schema"]);
    wrong("dag_id: a\nparams: {x: {type: integer, default: no}}\ntasks: {}\n", &["2:38: the default of `params.x`"]);
    wrong("a: {{ b }}\n", &["1:4: `a`: the template `{{ b }}` is not in quotes / put it in quotes: `a: \"{{ b }}\"`"]);
    wrong(
        "---\ndag_id: a\ntasks: {}\n---\ndag_id: a\ntasks: {}\n",
        &["dag id `a` is used already in the document at line 2"],
    );
    wrong("dag_id: a\ntasks:\n  t: {bash: x, map: 7}\n", &["`map` is over neither a list nor the output of a task"]);
}

#[test]
fn templates_are_held_against_what_there_is() {
    let with = |field: &str| format!("dag_id: a\nparams: {{table: x}}\ntasks:\n  l: {{value: 1}}\n  t:\n    {field}\n");
    for (field, words) in [
        ("value: '{{ params.tabl }}'", "6:12: there is no param `tabl` / did you mean `table`?"),
        ("value: '{{ run.logical_dat }}'", "there is no `run.logical_dat` / did you mean `logical_date`?"),
        ("value: '{{ task.x }}'", "there is no `task.x`"),
        ("value: '{{ upstream.k.output }}'", "there is no task `k`"),
        ("value: '{{ upstream.l }}'", "`upstream.l` names no output"),
        ("value: '{{ element }}'", "task `t` has no element"),
        ("value: '{{ parms.x }}'", "templates have no `parms` / did you mean `params`?"),
        ("value: '{{ params.table | uper }}'", "there is no filter `uper` / did you mean `upper`?"),
        ("value: '{{ var }}'", "`var` names no variable"),
        ("bash: 'echo {{ params.table }}'", "in `bash` templates are not rendered"),
        ("sql: {connection: c, statement: 'select {{ params.table }}'}", "in `statement` templates are not rendered"),
        (
            "bash: {command: x, args: ['{{ var.db_password }}']}",
            "6:31: the secret variable `db_password` is in an argument",
        ),
        ("value: '{{ upstream.t.output }}'", "it is in a cycle of dependencies"),
    ] {
        wrong(&with(field), &[words]);
    }
    // Braces of other tools are left alone.
    dag(&with("bash: \"docker ps --format '{{.Names}}'\""));
}

#[test]
fn a_choice_is_held_against_its_options_and_the_tasks_after_it() {
    let with = |follow: &str| {
        format!(
            "dag_id: a\ntasks:\n  far: {{value: 1}}\n  g:\n    tasks:\n      ask:\n        input:\n          subject: Which?\n          \
            options: [x, y]\n          follow:\n            {follow}\n      x: {{value: 1, after: ask}}\n      y: {{value: 1, after: ask}}\n"
        )
    };
    assert_eq!(task(&dag(&with("x: y")), "g.ask").config["follow"], json!({ "x": "g.y" }));
    wrong(&with("z: y"), &["11:13: `z` is no option of task `g.ask` / did you mean `x`?"]);
    wrong(&with("x: yy"), &["11:16: there is no task `yy` / did you mean `y`?"]);
    wrong(&with("x: g"), &["11:16: `g` is a group, not a task"]);
    wrong(&with("x: far"), &["6:7: dag `a`, task `g.ask`: for `x` it follows `far`, which is not right after it"]);
    wrong(
        "dag_id: a\ntasks:\n  ask: {input: {subject: Which?, options: [a, b], follow: {a: t}}}\n  t: {value: 1, after: ask}\n",
        &[
            "3:3: dag `a`, task `ask`: for `b` it follows `b`, which does not exist / say under `follow` which task follows `b`",
        ],
    );
    wrong(
        "dag_id: a\ntasks:\n  ask: {approval: {subject: Go?, defaults: [Yes]}}\n",
        &["3:3: dag `a`, task `ask`: it cannot ask this: its defaults: `Yes` is no option"],
    );
}

mod messages;

#[test]
fn bombs_are_refused() {
    let mut bomb = vec!["a: &a [x, x, x, x, x, x, x, x, x]".to_string()];
    for step in 0..12 {
        let (from, to) = (char::from(b'a' + step), char::from(b'b' + step));
        let names = vec![format!("*{from}"); 9].join(", ");
        bomb.push(format!("{to}: &{to} [{names}]"));
    }
    wrong(&bomb.join("\n"), &["more than 100000 values"]);
    wrong(&"[".repeat(100), &["deep in each other"]);
    assert!(parsed(&"[".repeat(10_000)).is_err());
    wrong("a: &a [*a]\n", &["an alias"]);
    let deep: Vec<String> = (0..500).map(|depth| " ".repeat(depth) + "a:").collect();
    let deep = deep.join("\n");
    assert!(parsed(&deep).is_err());
    let problems = parse("a.yaml", "", b"dag_id: a\n\xff\n").expect_err("not UTF-8");
    assert_eq!((problems[0].line, problems[0].column), (2, 1));
    assert!(parse("a.yaml", "", &vec![b' '; MAX_FILE_BYTES + 1]).is_err());
}

#[test]
fn json_is_read_too() {
    let text = "{\n\t\"dag_id\": \"a\",\n\t\"tasks\": {\"t\": {\"bash\": \"true\", \"retrys\": 1}}\n}\n";
    let problems = parse("a.json", "", text.as_bytes()).expect_err("a key is wrong");
    assert_eq!(problems[0].line, 3);
    assert!(parse("a.json", "", text.replace("retrys", "retries").as_bytes()).is_ok());
}

#[test]
fn aliases_and_several_documents_are_read() {
    let dags = parsed("dag_id: a\ntasks:\n  x: &t {bash: 'true', retries: 2}\n  y: *t\n---\ndag_id: b\ntasks: {}\n")
        .expect("two");
    assert_eq!(dags.len(), 2);
    assert_eq!(task(&dags[0], "y").options.retries, Some(2));
}

#[test]
fn nested_references_in_params_are_judged_in_no_time() {
    let began = std::time::Instant::now();
    let level = |level: usize| {
        let next = format!("{{$ref: '#/$defs/a{}'}}", level + 1);
        format!("      a{level}: {{anyOf: [{next}, {next}]}}\n")
    };
    let defs = (0..40).map(level).collect::<Vec<_>>().concat();
    let file = |default: &str| {
        format!(
            "dag_id: a\nparams:\n  p:\n    default: {default}\n    $ref: '#/$defs/a0'\n    $defs:\n{defs}      \
            a40: {{type: integer}}\ntasks:\n  t: {{bash: 'true'}}\n"
        )
    };
    let good = dag(&file("1")).params_schema;
    assert_eq!(orch_spec::params::check_conf(good.as_ref(), &json!({ "p": 2 })), Ok(()));
    assert!(orch_spec::params::check_conf(good.as_ref(), &json!({ "p": "x" })).is_err());
    wrong(&file("x"), &["the default of `params.p`"]);
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn programs_get_their_text_unchanged_and_templates_are_refused_with_the_way_to_pass_the_value() {
    let with = |field: &str| format!("dag_id: a\nparams: {{table: x}}\ntasks:\n  l: {{value: 1}}\n  t:\n    {field}\n");
    for (field, words) in [
        (
            "bash: 'echo {{ ds }}'",
            "6:11: in `bash` templates are not rendered: `{{ ds }}` / write `bash: {command: 'echo \"$DS\"', \
            env: {DS: \"{{ run.logical_date | ds }}\"}}`",
        ),
        (
            "bash: {command: 'echo {{.Names}} {{ params.table }}'}",
            "in `command` templates are not rendered: `{{ params.table }}` / add `env: {TABLE: \"{{ params.table }}\"}` \
            next to `command`, and write `\"$TABLE\"` in the command",
        ),
        (
            "python: \"print('{{ dag_run.conf.get('day') }}')\"",
            "in `python` templates are not rendered: `{{ dag_run.conf.get('day') }}` / write \
            `python: {script: …, env: {DAY: \"{{ conf.day }}\"}}`, and read `os.environ[\"DAY\"]` in the script",
        ),
        (
            "branch: {python: {script: 'print({{ upstream.l.output }})'}}",
            "in `script` templates are not rendered: `{{ upstream.l.output }}` / add `env: {L: ",
        ),
        (
            "sql: {connection: c, statement: \"select '{{ logical_date.strftime('%Y') }}'\"}",
            "in `statement` templates are not rendered: `{{ logical_date.strftime('%Y') }}` / add \
            `params: ['{{ run.logical_date | format(\"%Y\") }}']` next to `statement`, and write `$1` in the statement, without quotes",
        ),
        (
            "sensor: {sql: {connection: c, statement: 'select {{ element }}'}}",
            "in `statement` templates are not rendered: `{{ element }}` / add `params: [\"{{ element }}\"]` next to `statement`",
        ),
        (
            "bash: 'psql {{ conn.db.password }}'",
            "`{{ conn.db.password }}` / templates cannot read connections: use a `sql` or `http` task with `connection: db`; or store \
            the password with `orch variables set db_password -`, and write `bash: {command: …, env: {PGPASSWORD: ",
        ),
        ("bash: 'echo {{ macros.random() }}'", "`{{ macros.random() }}` / templates have no such value: compute it"),
        (
            "bash: '{% if params.table %}true{% endif %}'",
            "in `bash` templates are not rendered: `{% if params.table %}` / write `bash: {command: …, env: {TABLE: \
            \"{{ params.table }}\"}}`, and test it in the command, such as by `[ \"$TABLE\" = true ]`",
        ),
    ] {
        wrong(&with(field), &[words]);
    }
    for (field, program) in [
        ("bash: \"docker ps --format '{{.Names}} {{ .ID }}'\"", "docker ps --format '{{.Names}} {{ .ID }}'"),
        (
            "bash: {command: 'helm template --set x={{ .Values.params.x }}'}",
            "helm template --set x={{ .Values.params.x }}",
        ),
        (
            "bash: 'dbt run --select {{ ref(\"x\") }} {{ var(\"y\") }}'",
            "dbt run --select {{ ref(\"x\") }} {{ var(\"y\") }}",
        ),
        ("python: \"print(f'{{{1}}} {{x: {2}}}', '{%s}' % 1)\"", "print(f'{{{1}}} {{x: {2}}}', '{%s}' % 1)"),
    ] {
        let dag = dag(&with(field));
        let config = &task(&dag, "t").config;
        assert_eq!(config.get("command").or(config.get("script")), Some(&json!(program)));
        assert!(task(&dag, "t").inputs.is_empty());
    }
}

#[test]
fn templates_of_airflow_outside_of_programs_are_told_as_those_of_orch() {
    let with = |value: &str| format!("dag_id: a\ntasks:\n  t:\n    value: '{value}'\n");
    for (value, words) in [
        ("{{ ds }}", "4:12: templates have no `ds` / write `{{ run.logical_date | ds }}`"),
        ("{{ dag_run.logical_date }}", "templates have no `dag_run` / write `{{ run.logical_date }}`"),
        (
            "{{ conn.x.password }}",
            "templates have no `conn` / templates cannot read connections: use a `sql` or `http` task with `connection: x`",
        ),
        (
            "{{ run.logical_date.strftime(\"%Y\") }}",
            "a template has `(\"%Y\") }}` where a filter `| name`, or `}}` is expected / \
            write `{{ run.logical_date | format(\"%Y\") }}`",
        ),
        ("{{ logical_date.strftime(\"%Y\") }}", "write `{{ run.logical_date | format(\"%Y\") }}`"),
        ("{{ run.logical_date | strftime(\"%Y\") }}", "there is no filter `strftime` / write `format(\"%Y-%m-%d\")`"),
        ("{{ ti.xcom_pull(task_ids=\"x\") }}", "write `{{ upstream.x.output }}`"),
        (
            "{% set x = 1 %}{{ run.run_id }}",
            "templates have no statements `{% … %}` / a template is a value with filters",
        ),
    ] {
        wrong(&with(value), &[words]);
    }
}

#[test]
fn a_statement_is_one_statement() {
    let with =
        |statement: &str| format!("dag_id: a\ntasks:\n  t:\n    sql: {{connection: c, statement: \"{statement}\"}}\n");
    wrong(
        &with("delete from t; insert into t values (1);"),
        &["4:37: `statement` has 2 statements, not one / write a task for each statement, or one `do $$ begin"],
    );
    wrong(&with("-- nothing"), &["`statement` has no statements, not one"]);
    dag(&with("select ';' -- a; b"));
    dag(&with("do $$ begin delete from t; insert into t values (1); end $$;"));
}
