//! Typed settings of Task MCP.
pub mod settings;
