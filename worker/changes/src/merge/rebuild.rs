//! Putting a main spec together again.

use crate::spec::MainSpec;
use crate::text::{Lines, is_blank, trim, trim_end};

/// The document after a merge. `original` decides the line ending; a new document has `\n`.
pub(super) fn rebuild(spec: &MainSpec, original: Option<&str>) -> String {
    let preamble = (!is_blank(&spec.preamble)).then_some(spec.preamble.as_str());
    let body: Vec<&str> = preamble.into_iter().chain(spec.blocks.iter().map(|b| b.raw.as_str())).collect();
    let body = body.join("\n\n");
    let parts = [trim_end(&spec.before), &spec.header, trim_end(&body), trim(&spec.after)];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let text = format!("{}\n", trim_end(&collapse(&parts.join("\n\n"))));
    if original.is_some_and(mostly_crlf) { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text }
}

/// Runs of empty lines outside fences become one.
fn collapse(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut after_empty = false;
    for (_, line, masked) in Lines::new(text).iter() {
        let empty = line.is_empty() && !masked;
        if !(empty && after_empty) {
            kept.push(line);
        }
        after_empty = empty;
    }
    kept.join("\n")
}

fn mostly_crlf(text: &str) -> bool {
    let crlf = text.matches("\r\n").count();
    let lf = text.matches('\n').count() - crlf;
    crlf > 0 && crlf >= lf
}
