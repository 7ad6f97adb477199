//! Runs the binary to its end.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::wait::eventually;

/// What a finished program left.
#[derive(Debug)]
pub struct Finished {
    /// Exit status; 128 and more for a signal, as shells count.
    pub code: i32,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

/// A command for the server's binary with an environment of its own: nothing of the developer's machine leaks in.
pub fn program(fixture: bool, home: &Path) -> Command {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_task-mcp"));
    let binary = if fixture { binary.with_file_name("task-mcp-fixture") } else { binary };
    assert!(binary.exists(), "{} is missing; build the workspace first (scripts/test does)", binary.display());
    let mut command = Command::new(binary);
    command.env_clear().current_dir(home).env("HOME", home).stdin(Stdio::null());
    for name in ["PATH", "LANG", "LLVM_PROFILE_FILE"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs `task-mcp` with these arguments in a folder, to its end.
pub fn run_alone<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Finished {
    let mut command = program(false, folder);
    command.args(arguments);
    finish(command, Duration::from_secs(20))
}

/// Runs a command to its end; a program that outlasts the deadline is killed and fails the test.
pub fn finish(mut command: Command, deadline: Duration) -> Finished {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    // Both pipes are read at once: a program that fills one while the other is waited for would never end.
    let stdout = read_all(child.stdout.take().expect("piped"));
    let stderr = read_all(child.stderr.take().expect("piped"));
    let pid = child.id();
    let killer = KillOnPanic(pid.try_into().expect("pids fit"));
    let status = eventually(deadline, &format!("{command:?} ends"), || child.try_wait().expect("it is our child"));
    std::mem::forget(killer);
    let code =
        status.code().unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0));
    Finished { code, stdout: stdout.join().expect("reader"), stderr: stderr.join().expect("reader") }
}

fn read_all(mut pipe: impl std::io::Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Ends a program whose deadline has passed.
struct KillOnPanic(i32);

impl Drop for KillOnPanic {
    fn drop(&mut self) {
        super::process::signal(self.0, super::process::Signal::SIGKILL);
    }
}
