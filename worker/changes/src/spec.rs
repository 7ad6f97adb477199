//! Taking a main spec apart: the requirements section and its blocks, structure errors, the heading tree.

mod split;
mod structure;
mod tree;

pub(crate) use split::MainSpec;
pub use structure::{StructureError, structure_errors};
pub(crate) use tree::ParsedSpec;
