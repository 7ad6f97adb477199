//! Load generator that counts outcomes.
