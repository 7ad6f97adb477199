//! `--set section.key=value` and `--root` as the topmost layer.

use std::path::Path;

use crate::given::{Given, Override};
use crate::keys;
use crate::problem::{Flaw, Origin, Problem};
use crate::suggest;

/// Reads the arguments. Unlike in the environment, an empty value is meant: it empties a string or a list.
pub(crate) fn read(set: &[String], root: Option<&Path>, problems: &mut Vec<Problem>) -> Vec<Override> {
    let mut found = Vec::new();
    for argument in set {
        let Some((path, text)) = argument.split_once('=') else {
            let flaw = Flaw::new("has no `=`", "write --set section.key=value");
            problems.push(flaw.at(key_part(argument), Origin::Set));
            continue;
        };
        let path = path.trim();
        let Some(key) = keys::find(path) else {
            let remedy = match suggest::nearest(path) {
                Some(near) => format!("did you mean {near}?"),
                None => "remove it; config/default.toml lists all keys".to_owned(),
            };
            problems.push(Flaw::new("unknown key", remedy).at(key_part(path), Origin::Set));
            continue;
        };
        match Given::from_text(key, text) {
            Ok(given) => found.push(Override { key, given, origin: Origin::Set }),
            Err(flaw) => problems.push(flaw.at(key.path, Origin::Set)),
        }
    }
    found.extend(root.and_then(|root| root_override(root, problems)));
    found
}

fn root_override(root: &Path, problems: &mut Vec<Problem>) -> Option<Override> {
    let key = keys::find("store.root")?;
    let Some(text) = root.to_str() else {
        let flaw = Flaw::new("is not valid UTF-8", "rename the directory, or serve it through a symbolic link");
        problems.push(flaw.at(key.path, Origin::Root));
        return None;
    };
    Some(Override { key, given: Given::Text(text.to_owned()), origin: Origin::Root })
}

/// As much of a malformed argument as looks like a key: what follows may be a secret.
fn key_part(argument: &str) -> &str {
    let end = argument.find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_');
    let part = end.and_then(|end| argument.get(..end)).unwrap_or(argument);
    part.get(..60).unwrap_or(part)
}
