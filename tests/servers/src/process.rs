//! A server's process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::{PATIENCE, eventually};

/// One process, killed when it is dropped, and also when the test ends without dropping it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Waits for the end of this process, and then kills the child.
    guard: Child,
    log: PathBuf,
}

/// Reads from a pipe that nobody writes to: it ends with the process that holds its other end, whatever that dies of.
fn guard(child: &Child) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$0\"", &child.id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

impl Process {
    /// Starts `redis-server` with `arguments` in `folder`; what it says goes to a file there.
    pub(crate) fn start(folder: &Path, arguments: &[String]) -> Self {
        let log = folder.join("log");
        let output = fs::File::options().create(true).append(true).open(&log).expect("a log file");
        let child = Command::new("redis-server")
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("a second handle on the log"))
            .stdout(output)
            .spawn()
            .expect("redis-server is installed (scripts/test installs it)");
        Self { guard: guard(&child), child, log }
    }

    /// Polls `is_ready` until it is, or until the process has ended. False if it ended: its port was taken.
    pub(crate) fn becomes_ready(&mut self, mut is_ready: impl FnMut() -> bool) -> bool {
        let log = self.log.clone();
        eventually(PATIENCE, &format!("a server is ready; its log is {}", log.display()), || {
            if self.child.try_wait().expect("the state of a child").is_some() {
                return Some(false);
            }
            is_ready().then_some(true)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("a signal to a child of ours");
    }

    /// Ends it at once, whether it is stopped or not.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
        // Before its number can be another's.
        _ = self.guard.kill();
        _ = self.guard.wait();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
