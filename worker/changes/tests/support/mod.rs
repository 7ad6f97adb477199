//! The stage and the ordered JSON of the golden cases.

pub mod ordered;
pub mod stage;
