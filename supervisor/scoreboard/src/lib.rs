//! Shared memory that all processes of an instance map.
