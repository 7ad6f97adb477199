//! Reading task lists.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use crate::text::{pattern, trim};

/// A mark is one UTF-16 unit, so nothing above U+FFFF.
static TASK: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\s*(?:[-*+]|\d{1,9}[.)])\s*\[(?:\s*([^\]\s\x{10000}-\x{10ffff}]?)\s*\]|\s+\])\s*(.*)"));

/// One checkbox line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Position among the tasks of the file, from 1.
    pub index: usize,
    /// Line in the file, from 1.
    pub line: usize,
    /// The text behind the box.
    pub text: String,
    /// Whether it is ticked.
    pub done: bool,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskCounts {
    /// Ticked.
    pub completed: usize,
    /// All.
    pub total: usize,
}

/// Every task of a file, in order. Task files are not normalised: only `\n` ends a line, and fences do not count.
pub fn tasks(text: &str) -> Vec<Task> {
    let found = text.split('\n').enumerate().filter_map(|(i, line)| Some((i, task(line)?)));
    found.enumerate().map(|(n, (i, (text, done)))| Task { index: n + 1, line: i + 1, text, done }).collect()
}

/// Counts without keeping the texts.
pub fn count(text: &str) -> TaskCounts {
    text.split('\n').filter_map(task).fold(TaskCounts::default(), |counts, (_, done)| TaskCounts {
        completed: counts.completed + usize::from(done),
        total: counts.total + 1,
    })
}

fn task(line: &str) -> Option<(String, bool)> {
    let found = TASK.captures(line)?;
    let mark = found.get(1);
    // A box right before `(` or `[` is a link, unless it holds nothing but blanks.
    let rest = found.get(2)?;
    let close = line.get(..rest.start())?.rfind(']')?;
    let open = line.get(..close)?.rfind('[')?;
    let inside = line.get(open + 1..close)?;
    let behind = line.get(close + 1..)?;
    let blank = !inside.is_empty() && trim(inside).is_empty();
    if behind.starts_with(['(', '[']) && !blank {
        return None;
    }
    let done = mark.is_some_and(|m| m.as_str().eq_ignore_ascii_case("x"));
    Some((trim(rest.as_str()).to_owned(), done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<bool> {
        task(line).map(|(_, done)| done)
    }

    #[test]
    fn boxes() {
        for done in ["- [x] a", "* [X] a", "-[x]", "- [x]done", "12) [ x ] a", "\t+ [x]"] {
            assert_eq!(read(done), Some(true), "{done}");
        }
        for open in ["- [ ] a", "- [] a", "- [~] a", "- [-] a", "1. [ ] a", "- [ ](x)", "- [  ][y]"] {
            assert_eq!(read(open), Some(false), "{open}");
        }
        for none in
            ["- [😀] a", "- [WIP] a", "- [a](url)", "- [1][ref]", "- [](x)", "[ ] a", "- a", "1234567890. [ ] a"]
        {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
