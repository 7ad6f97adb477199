//! What both users of the golden cases share: this package replays runs with the real binary, `task-mcp-changes` compares reports.
#![allow(dead_code, reason = "each user takes a part of it")]

pub mod ordered;
pub mod stage;
