//! JSON-RPC and MCP in both eras, without IO.
