//! Absolute paths, and where the directories of an instance are when nobody says. Paths are computed here, never made.

use std::path::{Path, PathBuf};

use crate::environment::lookup;
use crate::problem::{Flaw, Origin, Problem};
use crate::settings::Settings;
use crate::sources::Sources;

/// Makes every path absolute and fills in the directories of the supervisor.
pub(crate) fn complete(settings: &mut Settings, sources: &Sources, warnings: &mut Vec<Problem>) {
    let supervisor = &mut settings.supervisor;
    if supervisor.runtime_dir.as_os_str().is_empty() {
        supervisor.runtime_dir = runtime_dir(&sources.env, sources.uid);
    }
    if supervisor.state_dir.as_os_str().is_empty() {
        supervisor.state_dir = state_dir(&sources.env).unwrap_or_else(|| {
            let what =
                "neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set, so state goes to the runtime directory";
            warnings.push(
                Flaw::new(what, "set it to a directory that outlives a restart of the machine")
                    .at("supervisor.state_dir", Origin::Default),
            );
            supervisor.runtime_dir.join("state")
        });
    }
    if supervisor.control_socket.as_os_str().is_empty() {
        supervisor.control_socket = supervisor.runtime_dir.join("control.sock");
    }
    let paths = [
        &mut supervisor.runtime_dir,
        &mut supervisor.state_dir,
        &mut supervisor.control_socket,
        &mut settings.store.root,
        &mut settings.tls.cert,
        &mut settings.tls.key,
        &mut settings.tls.client_ca,
        &mut settings.auth.tokens_file,
        &mut settings.telemetry.log_file,
    ];
    for path in paths.into_iter().filter(|path| !path.as_os_str().is_empty()) {
        // Components drop `.` but keep `..`: what that means depends on symbolic links.
        *path = sources.cwd.join(&*path).components().collect();
    }
}

/// systemd's `RuntimeDirectory=` (systemd.exec(5)), else the user's (XDG base directories), else a private temporary one.
fn runtime_dir(env: &[(String, String)], uid: u32) -> PathBuf {
    let temporary = || absolute(env, "TMPDIR").unwrap_or_else(|| "/tmp".into()).join(format!("task-mcp-{uid}"));
    systemd(env, "RUNTIME_DIRECTORY")
        .or_else(|| absolute(env, "XDG_RUNTIME_DIR").map(|dir| dir.join("task-mcp")))
        .unwrap_or_else(temporary)
}

/// systemd's `StateDirectory=`, else the user's (XDG base directories).
fn state_dir(env: &[(String, String)]) -> Option<PathBuf> {
    systemd(env, "STATE_DIRECTORY")
        .or_else(|| absolute(env, "XDG_STATE_HOME").map(|dir| dir.join("task-mcp")))
        .or_else(|| absolute(env, "HOME").map(|dir| dir.join(".local/state/task-mcp")))
}

/// systemd lists several directories with colons; the first is ours.
fn systemd(env: &[(String, String)], name: &str) -> Option<PathBuf> {
    lookup(env, name)?.split(':').next().map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The XDG specification says to ignore relative paths.
fn absolute(env: &[(String, String)], name: &str) -> Option<PathBuf> {
    lookup(env, name).map(Path::new).filter(|path| path.is_absolute()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_runtime_directory_prefers_systemd_then_the_user() {
        let all = [("RUNTIME_DIRECTORY", "/run/task-mcp:/run/x"), ("XDG_RUNTIME_DIR", "/run/user/7"), ("TMPDIR", "/t")];
        for (skip, wanted) in ["/run/task-mcp", "/run/user/7/task-mcp", "/t/task-mcp-7"].iter().enumerate() {
            let given: Vec<_> = all.iter().skip(skip).copied().collect();
            assert_eq!(runtime_dir(&env(&given), 7), Path::new(wanted));
        }
        assert_eq!(runtime_dir(&env(&[("XDG_RUNTIME_DIR", "relative")]), 7), Path::new("/tmp/task-mcp-7"));
    }

    #[test]
    fn the_state_directory_prefers_systemd_then_the_user() {
        let all = [("STATE_DIRECTORY", "/var/lib/task-mcp"), ("XDG_STATE_HOME", "/h/s"), ("HOME", "/h")];
        for (skip, wanted) in ["/var/lib/task-mcp", "/h/s/task-mcp", "/h/.local/state/task-mcp"].iter().enumerate() {
            let given: Vec<_> = all.iter().skip(skip).copied().collect();
            assert_eq!(state_dir(&env(&given)).as_deref(), Some(Path::new(wanted)));
        }
        assert_eq!(state_dir(&[]), None);
    }
}
