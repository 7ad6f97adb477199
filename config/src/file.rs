//! The settings file as a layer. Every key is looked at, so that one pass finds every unknown key and wrong type.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::given::{Given, Override};
use crate::keys::{self, KEYS};
use crate::problem::{Flaw, Origin, PROBLEMS_SHOWN, Problem, clip};
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
    read_table(path, text, root.get_ref(), problems)
}

/// The same for a text that may have syntax errors: the values on lines that none of them touches, and whether there was none.
pub(crate) fn read_damaged(path: &Path, text: &str, problems: &mut Vec<Problem>) -> (Vec<Override>, bool) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let line = |at| position(text, at).0;
    let damaged: Vec<_> = errors
        .iter()
        .take(PROBLEMS_SHOWN)
        .map(|error| error.span().map_or(1..=usize::MAX, |span| line(span.start)..=line(span.end)))
        .collect();
    let mut found = read_table(path, text, root.get_ref(), problems);
    found.retain(|given| match given.origin {
        Origin::File { line, .. } => {
            errors.len() <= damaged.len() && !damaged.iter().any(|lines| lines.contains(&line))
        }
        _ => true,
    });
    (found, errors.is_empty())
}

fn read_table(path: &Path, text: &str, table: &DeTable<'_>, problems: &mut Vec<Problem>) -> Vec<Override> {
    let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut reader = Reader { path, line_ends, found: Vec::new(), wrong: Vec::new() };
    reader.table("", table);
    // The parser sorts by name; people read by line.
    let mut wrong = std::mem::take(&mut reader.wrong);
    wrong.sort_by_key(|wrong| wrong.at);
    for (index, wrong) in wrong.into_iter().enumerate() {
        // The nearest key is costly to find, and nobody sees it further down.
        let unknown = || unknown(&wrong.path, index < PROBLEMS_SHOWN);
        let flaw = wrong.flaw.unwrap_or_else(unknown);
        problems.push(flaw.at(clip(&wrong.path), reader.origin(wrong.at)));
    }
    reader.found
}

struct Reader<'a> {
    path: &'a Path,
    /// Where lines end, in bytes: a file may hold very many entries, each of which asks for its line.
    line_ends: Vec<usize>,
    found: Vec<Override>,
    wrong: Vec<Wrong>,
}

/// An entry that does not count.
struct Wrong {
    at: usize,
    path: String,
    /// `None`: the key is unknown.
    flaw: Option<Flaw>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let at = name.span().start;
            let name = name.get_ref();
            let path = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
            if name.contains('.') {
                // It would pass for the dotted key, and nobody could say which of the two counts.
                let flaw = Flaw::new("has a dot inside quotes", "write the name without quotes");
                self.reject(&path, at, Some(flaw));
            } else {
                self.entry(&path, at, value.get_ref());
            }
        }
    }

    fn entry(&mut self, path: &str, at: usize, value: &DeValue<'_>) {
        match (keys::find(path), value) {
            (Some(key), value) => match Given::from_toml(key, value) {
                Ok(given) => self.found.push(Override { key, given, origin: self.origin(at) }),
                Err(flaw) => self.reject(path, at, Some(flaw)),
            },
            (None, DeValue::Table(table)) if is_section(path) || !table.is_empty() => self.table(path, table),
            (None, _) if is_section(path) => {
                let remedy = format!("write a line [{path}] and the keys of the section below it");
                self.reject(path, at, Some(Flaw::new("is a section, not a key", remedy)));
            }
            (None, _) => self.reject(path, at, None),
        }
    }

    fn reject(&mut self, path: &str, at: usize, flaw: Option<Flaw>) {
        self.wrong.push(Wrong { at, path: path.to_owned(), flaw });
    }

    fn origin(&self, at: usize) -> Origin {
        let line = self.line_ends.partition_point(|end| *end < at) + 1;
        Origin::File { path: self.path.to_owned(), line }
    }
}

fn unknown(path: &str, suggest: bool) -> Flaw {
    let near = if suggest { suggest::nearest(path) } else { None };
    let remedy = match near {
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
