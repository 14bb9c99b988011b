//! Parses every page like a browser. Strings from users and programs, in names, notes, logs and queries, must be plain
//! text or harmless attribute values.

use crate::browser::Browser;
use crate::fixture::{Web, dag};
use crate::pages::{EVIL, failed_run};
use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use orch_store::registry::{NewBundle, register_bundle};
use orch_web::{Door, rules};
use serde_json::json;
use sqlx::PgConnection;
use std::cell::RefCell;

/// Attributes that contain an address which a browser follows.
const ADDRESSES: [&str; 5] = ["href", "src", "action", "formaction", "data-live"];

/// Collects the problems of a page.
#[derive(Default)]
struct Reader {
    problems: RefCell<Vec<String>>,
    in_script: RefCell<bool>,
}

impl Reader {
    fn say(&self, what: String) {
        self.problems.borrow_mut().push(what);
    }

    fn look(&self, tag: &Tag) {
        let name = &*tag.name;
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_plain || matches!(name, "iframe" | "object" | "embed" | "base" | "style" | "math") {
            self.say(format!("an element <{name}>"));
        }
        for attribute in &tag.attrs {
            let (key, value) = (&*attribute.name.local, &*attribute.value);
            let is_own = value.is_empty()
                || value.starts_with(['#', '?'])
                || (value.starts_with('/') && !value.starts_with("//"));
            if key.starts_with("on") || key == "style" || key == "srcdoc" {
                self.say(format!("a handler {key}={value:?} of <{name}>"));
            }
            if ADDRESSES.contains(&key) && !is_own {
                self.say(format!("an address {key}={value:?} of <{name}>"));
            }
            if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:_".contains(&byte)) {
                self.say(format!("an attribute {key:?} of <{name}>"));
            }
        }
        if name == "script" && !tag.attrs.iter().any(|a| &*a.name.local == "src" && a.value.starts_with("/static/")) {
            self.say("a script that is no file of ours".into());
        }
    }
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                self.look(&tag);
                // Switches the tokenizer like the parser of a browser does.
                match &*tag.name {
                    "script" => {
                        *self.in_script.borrow_mut() = true;
                        return TokenSinkResult::RawData(RawKind::ScriptData);
                    }
                    "title" | "textarea" => return TokenSinkResult::RawData(RawKind::Rcdata),
                    _ => {}
                }
            }
            Token::TagToken(_) => *self.in_script.borrow_mut() = false,
            Token::CharacterTokens(text) if *self.in_script.borrow() && !text.trim().is_empty() => {
                self.say(format!("a script on the page: {text:.60}"));
            }
            Token::CommentToken(text) => self.say(format!("a comment: {text:.60}")),
            Token::ParseError(error) => self.say(format!("broken markup: {error}")),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

pub(crate) fn problems(html: &str) -> Vec<String> {
    let tokenizer = Tokenizer::new(Reader::default(), TokenizerOpts::default());
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from_slice(html));
    while !queue.is_empty() {
        drop(tokenizer.feed(&queue));
    }
    tokenizer.end();
    tokenizer.sink.problems.take()
}

#[test]
fn a_reader_finds_what_an_attack_would_leave() {
    for attack in [
        "<svg onload=x>",
        "<a href=\"javascript:x\">",
        "<a href=\"//evil.example\">",
        "<script>x</script>",
        "<script src=\"https://evil.example/x.js\"></script>",
        "<p style=\"x\">",
        "<title></title><iframe>",
        "<!-- x -->",
    ] {
        assert!(!problems(attack).is_empty(), "{attack}");
    }
    let fine = r#"<!doctype html><p title="&#34;><svg onload=x>">&lt;svg onload=x><a href="/dags?q=%22%3E">"#;
    assert_eq!(problems(fine), Vec::<String>::new());
}

/// Stores an attack in every field that can hold a string from outside.
pub(crate) async fn poison(web: &Web, db: &mut PgConnection) -> String {
    let evil = dag(json!({ "dag_id": "evil", "description": EVIL, "tags": [EVIL], "owners": [EVIL], "aliases": [],
        "tasks": [{ "task_id": "a", "kind": EVIL, "doc": EVIL }],
        "params_schema": { "properties": { EVIL: { "type": "string", "default": EVIL, "title": EVIL } } } }));
    register_bundle(db, &NewBundle { name: EVIL.into(), dags: vec![evil] }, false).await.expect("it registers");
    let run_id = failed_run(web, db, EVIL).await;
    for statement in [
        "insert into dag_run_detail (run, conf, note) select id, json_build_object($1::text, $1::text), $1 from dag_run",
        "insert into output (run, task, map_index, key, value) select id, 0, -1, 'return_value', to_json($1::text) from dag_run",
        "insert into worker (name, hostname, pid, bundle, binary_version, queues, versions, slots, expires_at)
          values ($1, $1, 7, $1, $1, '{1}', '{1}', 1, now() + interval '1 hour')",
        "insert into process (role, hostname, pid, binary_version) values ('scheduler', $1, 1, $1)",
        "insert into audit (actor, event, dag_id, run_id, task_id, map_index, extra)
          values ($1, $1, $1, $1, $1, 1, json_build_object($1::text, $1::text, 'from', $1::text))",
        "insert into api_user (name, password_hash, role, full_name, email) values ($1, '', 'viewer', $1, $1)",
        "insert into api_token (token_hash, user_name, name, generation, created_at) values ('x', 'admin', $1, 0, now())",
        "insert into web_session (token_hash, user_name, stamp, client_ip, user_agent, created_at, expires_at)
          values ('x', 'admin', '', $1, $1, now(), now() + interval '1 day')",
        "insert into duty (name, done_at) values ($1, now())",
    ] {
        sqlx::query(statement)
            .bind(EVIL)
            .execute(&mut *db)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    run_id
}

#[tokio::test]
async fn whatever_is_written_into_a_page_it_stays_text() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = poison(&web, &mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let evil = encoded(EVIL);
    let mut looked_at = 0;
    for rule in rules().into_iter().filter(|rule| rule.door == Door::Page && rule.method == "GET") {
        let real = |dag: &str, task: &str| {
            let path = rule.path.replace("{dag_id}", dag).replace("{dag_run_id}", &encoded(&run_id));
            path.replace("{task_id}", task).replace("{map_index}", "-1").replace("{user_name}", "admin")
        };
        let attacked = rule.path.split('/').map(|part| if part.starts_with('{') { evil.as_str() } else { part });
        let attacked = attacked.collect::<Vec<_>>().join("/");
        let of_user = real("chain", "t0").replace("/users/admin", &format!("/users/{evil}"));
        let plain = real("chain", "t0");
        let mut paths = vec![plain.clone(), real("evil", "a"), attacked, of_user, format!("{plain}?{evil}={evil}")];
        let names = browser.reads(&plain).await.unwrap_or_default();
        // Each parameter alone, because one error may hide another, then all parameters together that accept any text.
        paths.extend(names.iter().map(|name| format!("{plain}?{name}={evil}")));
        let mut taken = Vec::new();
        for name in &names {
            let asked = format!("{name}={evil}");
            if browser.get(&format!("{plain}?{asked}")).await.status.is_success() {
                taken.push(asked);
            }
        }
        paths.push(format!("{plain}?{}", taken.join("&")));
        for path in paths {
            if path.split('?').next().is_some_and(|path| path.ends_with("/events") || path.ends_with("/wait")) {
                continue; // never ends
            }
            let page = browser.get(&path).await;
            assert!(!page.status.is_server_error(), "{path}: {}", page.html);
            let kind = page.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
            if kind.starts_with("text/html") {
                assert_eq!(problems(&page.html), Vec::<String>::new(), "{path}");
                looked_at += 1;
            }
        }
    }
    for path in
        [format!("/{evil}"), format!("/api/v2/{evil}"), format!("/static/{evil}/{evil}"), format!("/login?next={evil}")]
    {
        let page = browser.get(&path).await;
        assert_eq!(problems(&page.html), Vec::<String>::new(), "{path}");
    }
    assert!(looked_at > 60, "{looked_at} pages");
}
