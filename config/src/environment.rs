//! Environment variables `TASK_MCP_<SECTION>__<KEY>` as a layer.
//!
//! Only names with a double underscore are settings: Kubernetes injects `TASK_MCP_PORT` and the like for a service of
//! our name, and `TASK_MCP_CONFIG` names the file.

use crate::given::{Given, Override};
use crate::keys::{self, Rule};
use crate::problem::{Flaw, Origin, Problem, clip};
use crate::suggest;

const PREFIX: &str = "TASK_MCP_";

/// The settings among the variables. An empty value means "not set", except where a number is wanted: there it is most
/// likely a mistake of the script that set it.
pub(crate) fn read(env: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Override> {
    let mut found = Vec::new();
    for (name, text) in env {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else { continue };
        let path = rest.to_ascii_lowercase().replace("__", ".");
        let origin = Origin::Environment(name.clone());
        let Some(key) = keys::find(&path) else {
            problems.push(unknown(&path).at(clip(&path), origin));
            continue;
        };
        if text.is_empty() && !matches!(key.rule, Rule::Number { .. }) {
            continue;
        }
        match Given::from_text(key, text) {
            Ok(given) => found.push(Override { key, given, origin }),
            Err(flaw) => problems.push(flaw.at(key.path, origin)),
        }
    }
    found
}

/// The variable that holds the key.
pub(crate) fn name_of(path: &str) -> String {
    format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', "__"))
}

/// The value of a variable, unless it is unset or empty.
pub(crate) fn lookup<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

fn unknown(path: &str) -> Flaw {
    let remedy = match suggest::nearest(path) {
        Some(near) => format!("did you mean {}?", name_of(near)),
        None => "unset it; config/default.toml lists all keys".to_owned(),
    };
    Flaw::new("unknown key", remedy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    fn given(pairs: &[(&str, &str)]) -> (Vec<Override>, Vec<String>) {
        let env: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut problems = Vec::new();
        let found = read(&env, &mut problems);
        (found, problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn only_double_underscores_are_settings() {
        let (found, problems) = given(&[
            ("TASK_MCP_PORT", "tcp://10.0.0.1:8443"),
            ("TASK_MCP_SERVICE_HOST", "10.0.0.1"),
            ("TASK_MCP_CONFIG", "x"),
            ("OTHER__THING", "x"),
            ("TASK_MCP_AUTH__JWT__ISSUER", "me"),
        ]);
        assert_eq!(found.iter().map(|found| found.key.path).collect::<Vec<_>>(), ["auth.jwt.issuer"]);
        assert!(problems.is_empty());
    }

    #[test]
    fn an_empty_value_is_not_set_but_no_number() {
        let (found, problems) = given(&[
            ("TASK_MCP_AUTH__TOKENS", ""),
            ("TASK_MCP_SERVER__PUBLIC_URL", ""),
            ("TASK_MCP_TELEMETRY__LOG_LEVEL", ""),
            ("TASK_MCP_SERVER__WORKERS", ""),
        ]);
        assert!(found.is_empty());
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("server.workers (environment variable TASK_MCP_SERVER__WORKERS): is empty"));
    }

    #[test]
    fn a_slip_is_answered_in_the_same_form_without_the_value() {
        let (_, problems) = given(&[("TASK_MCP_AUTH__TOKEN", "geheim")]);
        assert!(problems[0].ends_with("did you mean TASK_MCP_AUTH__TOKENS?"), "{problems:?}");
        assert!(!problems[0].contains("geheim"));
    }
}
