//! A minimal HTTP client that behaves like a browser: one connection, a session cookie, and the size of responses as
//! sent over the wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::clock;

const PATIENCE: Duration = Duration::from_secs(30);

/// A logged-in browser.
pub(crate) struct Browser {
    stream: BufReader<TcpStream>,
    host: String,
    cookie: String,
}

/// A response, and the time until its last byte.
pub(crate) struct Page {
    pub(crate) status: u16,
    /// Compressed size.
    pub(crate) bytes: usize,
    pub(crate) took_ms: f64,
    /// Compressed body, if the server compressed it.
    pub(crate) body: Vec<u8>,
}

impl Browser {
    pub(crate) fn log_in(url: &str, password: &str) -> Result<Self> {
        Browser::log_in_as("admin", url, password)
    }

    pub(crate) fn log_in_as(user: &str, url: &str, password: &str) -> Result<Self> {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let mut browser = Browser { stream: connect(&host)?, host, cookie: String::new() };
        let form = format!("username={user}&password={password}&next=/");
        let head = format!(
            "POST /login HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            browser.host,
            form.len()
        );
        browser.stream.get_mut().write_all(head.as_bytes())?;
        let (page, cookies) = browser.read(clock::now())?;
        ensure!(page.status == 303, "the login was answered with {}", page.status);
        browser.cookie = cookies.join("; ");
        ensure!(!browser.cookie.is_empty(), "the login gave no cookie");
        Ok(browser)
    }

    /// Reconnects, because the server closes idle connections.
    pub(crate) fn reconnect(&mut self) -> Result<()> {
        self.stream = connect(&self.host)?;
        Ok(())
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Page> {
        self.ask(path, "gzip")
    }

    /// Returns an uncompressed page as text.
    pub(crate) fn text(&mut self, path: &str) -> Result<String> {
        let page = self.ask(path, "identity")?;
        ensure!(page.status == 200, "{path} was answered with {}", page.status);
        Ok(String::from_utf8_lossy(&page.body).into_owned())
    }

    fn ask(&mut self, path: &str, coding: &str) -> Result<Page> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\naccept: text/html\r\naccept-encoding: {coding}\r\n\r\n",
            self.host, self.cookie
        );
        let start = clock::now();
        self.stream.get_mut().write_all(head.as_bytes())?;
        let (page, _) = self.read(start).with_context(|| path.to_owned())?;
        Ok(page)
    }

    fn read(&mut self, start: u64) -> Result<(Page, Vec<String>)> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no answer of HTTP")?;
        let (mut length, mut chunked, mut cookies) = (0, false, Vec::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse()?,
                ("transfer-encoding", "chunked") => chunked = true,
                ("set-cookie", value) => cookies.extend(value.split(';').next().map(ToOwned::to_owned)),
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                line.clear();
                self.stream.read_line(&mut line)?;
                let size = usize::from_str_radix(line.trim(), 16).context("a chunk without a size")?;
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..])?;
                self.stream.read_line(&mut line)?;
                if size == 0 {
                    break;
                }
            }
        } else {
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
        }
        let took_ms = clock::millis_between(start, clock::now());
        Ok((Page { status, bytes: body.len(), took_ms, body }, cookies))
    }
}

fn connect(host: &str) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(host).with_context(|| format!("cannot connect to `{host}`"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// Returns the part of a text between two markers.
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> Result<&'a str> {
    let Some((_, rest)) = text.split_once(before) else { bail!("there is no `{before}`") };
    Ok(rest.split(after).next().unwrap_or_default())
}
