use std::fs;

use task_mcp_config::{ConfigError, Loaded, Problem, Sources, load};
use tempfile::TempDir;

/// A working directory with an empty `openspec/` tree and nothing else set.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) sources: Sources,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("openspec")).unwrap();
        let cwd = dir.path().to_owned();
        let home = ("HOME".to_owned(), "/home/somebody".to_owned());
        let search = vec!["etc/task-mcp.toml".into(), "task-mcp.toml".into()];
        let sources = Sources { config: None, search, env: vec![home], set: Vec::new(), root: None, cwd, uid: 7 };
        Self { dir, sources }
    }

    pub(crate) fn file(self, text: &str) -> Self {
        fs::write(self.dir.path().join("task-mcp.toml"), text).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn set(mut self, argument: &str) -> Self {
        self.sources.set.push(argument.to_owned());
        self
    }

    #[track_caller]
    pub(crate) fn loaded(&self) -> Loaded {
        match load(&self.sources) {
            Ok(loaded) => loaded,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    pub(crate) fn problems(&self) -> Vec<Problem> {
        match load(&self.sources) {
            Err(ConfigError::Invalid(problems)) => problems,
            other => panic!("{other:?}"),
        }
    }

    /// The only problem, as it is printed.
    #[track_caller]
    pub(crate) fn problem(&self) -> String {
        let problems = self.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems[0].to_string()
    }

    /// The only warning, as it is printed.
    #[track_caller]
    pub(crate) fn warning(&self) -> String {
        let warnings = self.loaded().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        warnings[0].to_string()
    }
}
