//! The settings file as a layer. Every key is looked at, so that one pass finds every unknown key and wrong type.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::given::{Given, Override};
use crate::keys::{self, KEYS};
use crate::problem::{Flaw, Origin, Problem, clip};
use crate::suggest;

/// Reads the text of `path`. A syntax error is one problem and yields no values.
pub(crate) fn read(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Override> {
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            problems.push(syntax(path, text, &error));
            return Vec::new();
        }
    };
    let mut reader = Reader { path, text, found: Vec::new(), problems: Vec::new() };
    reader.table("", root.get_ref());
    // The parser sorts by name; people read by line.
    reader.problems.sort_by_key(|(at, _)| *at);
    problems.extend(reader.problems.into_iter().map(|(_, problem)| problem));
    reader.found
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<Override>,
    problems: Vec<(usize, Problem)>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let at = name.span().start;
            let name = name.get_ref();
            let path = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
            if name.contains('.') {
                // It would pass for the dotted key, and nobody could say which of the two counts.
                self.problem(&path, at, Flaw::new("has a dot inside quotes", "write the name without quotes"));
            } else {
                self.entry(&path, at, value.get_ref());
            }
        }
    }

    fn entry(&mut self, path: &str, at: usize, value: &DeValue<'_>) {
        match (keys::find(path), value) {
            (Some(key), value) => match Given::from_toml(key, value) {
                Ok(given) => self.found.push(Override { key, given, origin: self.origin(at) }),
                Err(flaw) => self.problem(path, at, flaw),
            },
            (None, DeValue::Table(table)) if is_section(path) || !table.is_empty() => self.table(path, table),
            (None, _) if is_section(path) => {
                let remedy = format!("write a line [{path}] and the keys of the section below it");
                self.problem(path, at, Flaw::new("is a section, not a key", remedy));
            }
            (None, _) => self.problem(path, at, unknown(path)),
        }
    }

    fn problem(&mut self, path: &str, at: usize, flaw: Flaw) {
        let problem = flaw.at(clip(path), self.origin(at));
        self.problems.push((at, problem));
    }

    fn origin(&self, at: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line: position(self.text, at).0 }
    }
}

fn unknown(path: &str) -> Flaw {
    let remedy = match suggest::nearest(path) {
        Some(near) => format!("did you mean {near}?"),
        None => "remove it; config/default.toml lists all keys".to_owned(),
    };
    Flaw::new("unknown key", remedy)
}

fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let (line, column) = position(text, error.span().map_or(0, |span| span.start));
    // The error's own Display would print the line, and the line may hold a token.
    let what = format!("column {column}: not valid TOML: {}", error.message().replace('\n', ", ").escape_debug());
    Flaw::new(what, "correct the syntax; other settings of this file were not looked at")
        .at("", Origin::File { path: path.to_owned(), line })
}

/// Line and column of a byte, both from 1, the column in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        read(Path::new("t.toml"), text, &mut problems);
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn every_wrong_line_is_named_once_in_order() {
        let found = problems(
            "server = 3\n[telemetry]\nlog_level = 5\nlog_levle = \"info\"\n[limits]\nbody_bytes = \"1 MiB\"\nkeep_alive_s = -1\n\
             [auth]\ntokens = \"abc\"\n[nowhere.at.all]\nx = 1\n[empty]\n\"tools.queue\" = 1\n",
        );
        let starts = [
            "server (t.toml, line 1): is a section, not a key",
            "telemetry.log_level (t.toml, line 3): is of type integer, not a string; put it in quotes",
            "telemetry.log_levle (t.toml, line 4): unknown key; did you mean telemetry.log_level?",
            "limits.body_bytes (t.toml, line 6): is of type string, not a whole number",
            "limits.keep_alive_s (t.toml, line 7): \"-1\" is not a whole number",
            "auth.tokens (t.toml, line 9): is of type string, not a list of strings",
            "nowhere.at.all.x (t.toml, line 11): unknown key; remove it",
            "empty.tools.queue (t.toml, line 13): has a dot inside quotes",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found}\n{start}");
        }
    }

    #[test]
    fn a_syntax_error_names_line_and_column_and_no_content() {
        let found = problems("[auth]\ntokens = [\"geheim\", \"geheim2\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("t.toml, line 2: column "), "{found:?}");
        assert!(!found[0].contains("geheim"), "{found:?}");
    }

    #[test]
    fn dotted_keys_and_sections_are_the_same() {
        let mut problems = Vec::new();
        let found = read(Path::new("t"), "auth.jwt.issuer = \"a\"\n[store.postgres]\nurl = \"b\"", &mut problems);
        assert_eq!(
            found.iter().map(|given| given.key.path).collect::<Vec<_>>(),
            ["auth.jwt.issuer", "store.postgres.url"]
        );
        assert_eq!(found[1].origin, Origin::File { path: "t".into(), line: 3 });
        assert!(problems.is_empty());
    }
}
