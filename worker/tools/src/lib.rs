//! Tool trait, registry, executor and the built-in tools.
