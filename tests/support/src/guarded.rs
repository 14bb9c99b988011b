//! Child processes that end with this process, even after a crash: a shell between this process and the program waits
//! until its stdin is closed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_mins(3);
const LOOK: Duration = Duration::from_millis(20);
const OUTPUT: &str = "output";

/// `$1` is the folder, the rest is the program. The program is killed when stdin is closed or receives a line; the
/// folder is removed unless the line is `keep`.
const GUARD: &str = r#"
trap '' HUP INT TERM
folder=$1
shift
"$@" < /dev/null >> "$folder/output" 2>&1 &
program=$!
read -r word
kill -9 "$program"
wait "$program"
[ "$word" = keep ] || rm -rf "$folder"
"#;

/// A running program and its folder. Dropping it ends the program and removes the folder.
#[derive(Debug)]
pub struct Guarded {
    shell: Child,
    folder: PathBuf,
}

impl Guarded {
    /// Starts the program. Its output goes to a file in the folder.
    pub fn start(folder: &Path, program: &Command) -> Guarded {
        std::fs::write(folder.join(OUTPUT), "").expect("the folder can be written");
        let mut shell = Command::new("sh");
        if let Some(home) = program.get_current_dir() {
            shell.current_dir(home);
        }
        let shell = shell
            .args(["-c", GUARD, "guard"])
            .arg(folder)
            .arg(program.get_program())
            .args(program.get_args())
            .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        Guarded { shell, folder: folder.to_owned() }
    }

    /// Returns the output so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join(OUTPUT)).unwrap_or_default()
    }

    /// Waits until the output contains these words. It polls, because another process sends no events.
    pub async fn until_said(&self, words: &str) {
        let begun = Instant::now();
        while !self.said().contains(words) {
            assert!(begun.elapsed() < START_TIMEOUT, "it never said `{words}`:\n{}", self.said());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills the program, like a power failure. The folder is kept.
    pub fn kill(mut self) {
        self.shell.stdin.take().expect("it is a pipe").write_all(b"keep\n").expect("the guard reads");
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.shell.stdin.take()); // ends the guard
        self.shell.wait().expect("the guard ends");
    }
}
