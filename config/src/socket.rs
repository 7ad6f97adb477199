//! Where the control socket of an instance is, told from settings that may be broken: whoever wants to look at an instance,
//! or to stop it, wants that most of all while its settings file is half written.

use std::path::PathBuf;

use crate::given::{Given, Override};
use crate::load::load;
use crate::problem::{ConfigError, Problem};
use crate::settings::Settings;
use crate::sources::Sources;
use crate::{DEFAULT_TOML, arguments, checks, directories, environment, file};

const SOCKET: &str = "supervisor.control_socket";
const RUNTIME_DIR: &str = "supervisor.runtime_dir";

/// The absolute path of the control socket. Problems of other settings are passed over. Of a settings file with a syntax error
/// the lines that can be read count.
///
/// # Errors
/// Those of [`load`], if one of the two settings that decide is wrong, or if the settings file cannot be read as a whole and
/// neither is found: the default path might be that of another instance.
pub fn control_socket(sources: &Sources) -> Result<PathBuf, ConfigError> {
    match load(sources) {
        Ok(loaded) => Ok(loaded.settings.supervisor.control_socket),
        Err(error) => of_broken(sources).ok_or(error),
    }
}

/// The same from the two settings alone, if they can be told.
fn of_broken(sources: &Sources) -> Option<PathBuf> {
    let mut problems = Vec::new();
    let (mut layers, is_whole) = match sources.file() {
        Ok(Some((path, text))) => file::read_damaged(&path, &text, &mut problems),
        Ok(None) => (Vec::new(), true),
        Err(_) => (Vec::new(), false),
    };
    layers.extend(environment::read(&sources.env, &mut problems));
    layers.extend(arguments::read(&sources.set, None, &mut problems));
    let is_ours = |problem: &Problem| problem.key == SOCKET || problem.key == RUNTIME_DIR;
    if problems.iter().any(is_ours) {
        return None;
    }
    let mut settings: Settings = toml::from_str(DEFAULT_TOML).ok()?;
    let mut is_given = false;
    for (name, path) in
        [(SOCKET, &mut settings.supervisor.control_socket), (RUNTIME_DIR, &mut settings.supervisor.runtime_dir)]
    {
        let Some(Override { key, given, .. }) = layers.iter().rfind(|given| given.key.path == name) else { continue };
        checks::check(key, given).ok()?;
        if let Given::Text(text) = given {
            *path = text.into();
            is_given |= !text.is_empty();
        }
    }
    if !is_whole && !is_given {
        return None;
    }
    directories::complete(&mut settings, sources, &mut Vec::new());
    Some(settings.supervisor.control_socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::fs;
    use std::path::Path;

    use super::*;

    /// Sources with this settings file, in a directory without a tree.
    fn sources(dir: &Path, text: &str) -> Sources {
        let file = dir.join("settings.toml");
        fs::write(&file, text).unwrap();
        let (env, set) = (Vec::new(), Vec::new());
        Sources { config: Some(file), search: Vec::new(), env, set, root: None, cwd: "/here".into(), uid: 7 }
    }

    #[test]
    fn problems_of_other_settings_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for (text, socket) in [
            ("server.workers = \"many\"\nnonsense = 1\n", "/tmp/task-mcp-7/control.sock"),
            ("[store]\nroot = \"/nowhere/at/all\"\n[supervisor]\nruntime_dir = \"run\"\n", "/here/run/control.sock"),
            ("[server]\nworkers = 4x\n[supervisor]\nruntime_dir = \"/r\"\n", "/r/control.sock"),
            ("[supervisor]\nruntime_dir = \"/r\"\n[server]\nlisten = [\"127.0.", "/r/control.sock"),
            ("[supervisor]\nruntime_dir = \"/r\"\ncontrol_socket = \"/s\"\n[serv", "/s"),
        ] {
            let sources = sources(dir.path(), text);
            assert!(load(&sources).is_err(), "{text}");
            assert_eq!(control_socket(&sources).unwrap(), Path::new(socket), "{text}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "[server]\nworkers = 4\n[supervis",
            "[server]\nworkers = 4x\n",
            "[supervisor]\nruntime_dir = \"/run/task-mc",
            "[supervisor]\nruntime_dir = 5\n",
            "[supervisor]\nruntime_dir = \"/r\"\ncontrol_socket = []\n",
        ] {
            let found = control_socket(&sources(dir.path(), text));
            assert!(matches!(found, Err(ConfigError::Invalid(_))), "{text}: {found:?}");
        }
        let mut gone = sources(dir.path(), "");
        gone.config = Some("/nowhere/settings.toml".into());
        assert!(matches!(control_socket(&gone), Err(ConfigError::Read { .. })));
        gone.set = vec!["supervisor.runtime_dir=/r".into()];
        assert_eq!(control_socket(&gone).unwrap(), Path::new("/r/control.sock"));
        gone.env = vec![("TASK_MCP_SUPERVISOR__CONTROL_SOCKET".into(), "/e".into())];
        assert_eq!(control_socket(&gone).unwrap(), Path::new("/e"));
    }
}
