//! Processes, slots and signals of Task MCP.
