//! Every metric name and help text, and readiness latches.
