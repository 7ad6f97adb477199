//! The OpenSpec domain and its stores.
