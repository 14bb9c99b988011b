//! Programs that end when this process is gone, however it went: a shell between us and a program waits for the end of its input.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_mins(3);
const LOOK: Duration = Duration::from_millis(20);
const OUTPUT: &str = "output";

/// `$1` is the folder, the rest the program. It ends when the other end of our input is closed or says something; when it was
/// closed, the folder goes too.
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

/// A program that runs, and its folder. Both go when this is dropped.
#[derive(Debug)]
pub struct Guarded {
    shell: Child,
    folder: PathBuf,
}

impl Guarded {
    /// Starts it. Its output goes to a file of the folder.
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

    /// Its output so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join(OUTPUT)).unwrap_or_default()
    }

    /// Waits until it has written these words. It is a process of its own and sends no events, so its output is looked at.
    pub async fn until_said(&self, words: &str) {
        let begun = Instant::now();
        while !self.said().contains(words) {
            assert!(begun.elapsed() < START_TIMEOUT, "it never said `{words}`:\n{}", self.said());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// As a power cut does. The folder stays.
    pub fn kill(mut self) {
        self.shell.stdin.take().expect("it is a pipe").write_all(b"keep\n").expect("the guard reads");
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.shell.stdin.take()); // tells the guard
        self.shell.wait().expect("the guard ends");
    }
}
