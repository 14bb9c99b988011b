//! A test browser that keeps cookies and sends forms with the CSRF token of their page.

use crate::fixture::{PASSWORD, Web};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use orch_web::ADMIN;
use std::collections::BTreeMap;

pub(crate) struct Browser<'a> {
    web: &'a Web,
    pub(crate) cookies: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) html: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |place| place.to_str().expect("ASCII"))
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.html.contains(text)
    }

    /// Returns all links of the page to this server.
    pub(crate) fn links(&self) -> Vec<String> {
        let parts = self.html.split(r#"href=""#).skip(1).filter_map(|rest| rest.split('"').next());
        let links =
            parts.filter(|link| link.starts_with('/')).map(|link| link.replace("&#38;", "&").replace("&amp;", "&"));
        links.map(|link| link.split('#').next().expect("a part").to_string()).collect()
    }

    /// Returns the CSRF token of the page's forms.
    pub(crate) fn token(&self) -> String {
        let after =
            self.html.split(r#"name="form_token" value=""#).nth(1).unwrap_or_else(|| panic!("no form: {}", self.html));
        after.split('"').next().expect("a value").into()
    }
}

impl Browser<'_> {
    pub(crate) fn new(web: &Web) -> Browser<'_> {
        Browser { web, cookies: BTreeMap::new() }
    }

    pub(crate) async fn logged_in(web: &Web) -> Browser<'_> {
        let mut browser = Browser::new(web);
        let answer = browser.log_in(ADMIN, PASSWORD, "/").await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/"), "{}", answer.html);
        browser
    }

    pub(crate) async fn log_in(&mut self, name: &str, password: &str, next: &str) -> Page {
        self.send_form("/login", &[("username", name), ("password", password), ("next", next)], &[]).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, String::new(), &[]).await
    }

    /// Returns the query parameters that a path accepts, from the error for an unknown one. `None` if it accepts any.
    pub(crate) async fn reads(&mut self, path: &str) -> Option<Vec<String>> {
        let page = self.get(&format!("{path}?nonsense=1")).await;
        let said = page.html.split("this address reads ").nth(1)?;
        let names = said.split('<').next().expect("a part").trim().trim_end_matches('.');
        let names = if names == "no query parameter" { "" } else { names };
        Some(names.split(", ").filter(|name| !name.is_empty()).map(String::from).collect())
    }

    /// Submits a form of the page `from`, with its CSRF token.
    pub(crate) async fn submit(&mut self, from: &str, to: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.get(from).await.token();
        let mut fields = fields.to_vec();
        fields.push(("form_token", &token));
        self.send_form(to, &fields, &[("sec-fetch-site", "same-origin")]).await
    }

    pub(crate) async fn send_form(&mut self, to: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, to, body, headers).await
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str, body: String, headers: &[(&str, &str)]) -> Page {
        let answer = self.web.bytes(self.request(method, path, body, headers)).await;
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let set = set.to_str().expect("ASCII");
            let (name, rest) = set.split_once('=').expect("a cookie");
            let value = rest.split(';').next().expect("a value");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        let text = String::from_utf8_lossy(&answer.bytes);
        let kind = answer.headers.get(header::CONTENT_TYPE);
        let is_page = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let html = if is_page { joined(&text) } else { text.into_owned() };
        Page { status: answer.status, headers: answer.headers, html }
    }

    pub(crate) fn request(&self, method: Method, path: &str, body: String, headers: &[(&str, &str)]) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request = request.header("cookie", cookies.join("; ")).header("accept", "text/html,*/*");
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(body)).expect("a request")
    }
}

/// Inline elements: a line break between two of them is rendered as a space.
const INLINE: [&str; 12] = ["a", "abbr", "b", "code", "em", "i", "kbd", "mark", "small", "span", "strong", "time"];

/// Removes the line breaks of templates that are not rendered: those inside tags and between other elements.
fn joined(html: &str) -> String {
    let is_inline = |tag: &str| {
        let name = tag.trim_start_matches(['<', '/']);
        INLINE.contains(&name.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default())
    };
    let mut lines = html.split('\n');
    let mut page = lines.next().unwrap_or_default().to_string();
    for line in lines {
        let text = line.trim_start_matches(' ');
        let last_tag = page.rfind('<').map_or("", |at| &page[at..]);
        if page.ends_with('>') && text.starts_with('<') {
            let is_space = is_inline(last_tag) && is_inline(text);
            page.extend([if is_space { " " } else { "" }, text]);
        } else if !last_tag.is_empty() && !last_tag.contains('>') && line.starts_with(' ') {
            page.extend([" ", text]);
        } else {
            page.extend(["\n", line]);
        }
    }
    page
}
