//! The loop.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use std::{env, fmt};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::mutate::{mutated, pick};
use crate::{Target, corpus};

/// How long a run takes in the test command, and in `scripts/soak`.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(600);
/// Runs between two looks at the clock.
const RUNS: u64 = 64;

/// What a run did.
#[derive(Debug)]
pub struct Report {
    target: &'static str,
    seed: u64,
    runs: u64,
    /// How often each word was said.
    words: BTreeMap<&'static str, u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} inputs with seed {}:", self.target, self.runs, self.seed)?;
        self.words.iter().try_for_each(|(word, count)| write!(f, " {word} {count},"))
    }
}

/// Feeds a target for a while.
///
/// # Panics
/// An input made it panic, its corpus cannot be read, or the run came not to all it [reaches](Target::reaches).
#[allow(clippy::panic, clippy::print_stderr, reason = "it is a test")]
pub fn fuzz(target: &Target) -> Report {
    let duration = if env::var_os("TASK_MCP_SOAK").is_some() { LONG } else { SHORT };
    let seed = env::var("TASK_MCP_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    // Said first, for a crash that nothing can be said after.
    eprintln!("{} is fed with TASK_MCP_FUZZ_SEED={seed}", target.name);
    let mut pool: Vec<Vec<u8>> = match corpus::inputs(target.name) {
        Ok(inputs) if !inputs.is_empty() => inputs.into_iter().map(|(_, input)| input).collect(),
        Ok(_) => panic!("tests/corpus/{} holds no input", target.name),
        Err(error) => panic!("tests/corpus/{} cannot be read: {error}", target.name),
    };
    let mut report = Report { target: target.name, seed, runs: 0, words: BTreeMap::new() };
    for input in &pool {
        feed(target, input, &mut report);
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let begun = Instant::now();
    while begun.elapsed() < duration {
        for _ in 0..RUNS {
            let (Some(one), Some(other)) = (pick(&mut rng, &pool), pick(&mut rng, &pool)) else { continue };
            let input = mutated(&mut rng, one, other, target.words, target.bytes_max);
            if feed(target, &input, &mut report) {
                pool.push(input);
            }
        }
    }
    let missed: Vec<_> = target.reaches.iter().filter(|word| !report.words.contains_key(*word)).collect();
    assert!(missed.is_empty(), "it never came to {missed:?}: {report}");
    report
}

/// Feeds one input; whether what became of it is new, or still rare.
#[allow(clippy::panic, reason = "it is a test")]
fn feed(target: &Target, input: &[u8], report: &mut Report) -> bool {
    report.runs += 1;
    let Ok(word) = catch_unwind(AssertUnwindSafe(|| (target.read)(input))) else {
        let kept = corpus::keep(target.name, input, report.seed, report.runs);
        panic!(
            "{} panicked at input {} of TASK_MCP_FUZZ_SEED={}, which is kept in {kept:?}; with the repair it belongs into \
             tests/corpus/{}",
            target.name, report.runs, report.seed, target.name
        );
    };
    let count = report.words.entry(word).or_default();
    *count += 1;
    count.is_power_of_two()
}
