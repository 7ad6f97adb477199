//! Each target is fed for a while: see the head of the library.
#![allow(clippy::print_stderr)]

use task_mcp_fuzz::fuzz;
use task_mcp_fuzz::targets::{ALL, target};

/// Makes a test of each target, and one that none was forgotten.
macro_rules! fed {
    ($($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { eprintln!("{}", fuzz(target(stringify!($name)))); })+

        #[test]
        fn every_target_is_fed() {
            let fed = [$(stringify!($name)),+];
            let all: Vec<_> = ALL.iter().map(|target| target.name).collect();
            assert_eq!(all, fed);
        }
    };
}

fed!(session, request_state, envelope, headers, params);
