//! Chance that can be repeated: all that a test draws begins at one number, and a failure names it.

use std::{
    env,
    sync::OnceLock,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::budget::{HOSTILE, budget};

/// The number at which chance begins. Without it, small budgets always draw the same, so that a failure is of the change
/// that it follows; full ones draw something else in each run.
pub const HOSTILE_SEED: &str = "HOSTILE_SEED";

/// The seed of this run. The caller's output names the command that repeats it: a failing test shows its output.
///
/// # Panics
/// Where `HOSTILE_SEED` is not a number.
#[must_use]
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = *SEED.get_or_init(|| match env::var(HOSTILE_SEED) {
        Ok(text) => parse(&text),
        Err(_) => budget(1, micros()),
    });
    let program = env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    let command = command(&program, thread::current().name(), budget("small", "full"), seed);
    #[allow(clippy::print_stderr, reason = "the test harness shows it with a failure")]
    {
        eprintln!("to repeat this run: {command}");
    }
    seed
}

/// Numbers that are drawn from a seed: the same seed, the same numbers (`SplitMix64`).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins at a seed.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, not including, this.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    /// The index of one of so many things.
    pub fn pick(&mut self, count: usize) -> usize {
        let bound = u64::try_from(count).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or_default()
    }
}

#[allow(clippy::panic, reason = "a seed that is none must not become another run")]
fn parse(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{HOSTILE_SEED} is {text:?}: give a number from 0 to {}", u64::MAX))
}

fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// The command that runs one test of a program once more. Cargo gives the program a hash behind its name; the harness
/// gives the test's name to its thread, unless it runs the tests one by one.
fn command(program: &str, thread: Option<&str>, budget: &str, seed: u64) -> String {
    let name = program.rsplit_once('-').map_or(program, |(name, _)| name);
    let program = if name == "scim_bridge_operator" {
        "--lib".to_owned()
    } else {
        format!("--test {name}")
    };
    let test = thread
        .filter(|name| *name != "main")
        .map_or_else(String::new, |name| format!(" -- --exact {name}"));
    format!("{HOSTILE}={budget} {HOSTILE_SEED}={seed} cargo test --locked {program}{test}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_that_repeats_it() {
        for (program, thread, expected) in [
            (
                "model-fbf5cb8b16b2e63f",
                Some("random::any_life"),
                "HOSTILE=full HOSTILE_SEED=7 cargo test --locked --test model -- --exact random::any_life",
            ),
            (
                "scim_bridge_operator-0a",
                Some("domain::target::tests::it"),
                "HOSTILE=full HOSTILE_SEED=7 cargo test --locked --lib -- --exact domain::target::tests::it",
            ),
            (
                "faults-0a",
                Some("main"),
                "HOSTILE=full HOSTILE_SEED=7 cargo test --locked --test faults",
            ),
            (
                "faults",
                None,
                "HOSTILE=full HOSTILE_SEED=7 cargo test --locked --test faults",
            ),
        ] {
            assert_eq!(command(program, thread, "full", 7), expected);
        }
    }

    #[test]
    fn a_seed_is_a_run() {
        let (mut one, mut other) = (Dice::from_seed(7), Dice::from_seed(7));
        let drawn: Vec<u64> = (0..100).map(|_| one.below(10)).collect();
        assert!(
            drawn
                .iter()
                .all(|number| *number < 10 && *number == other.below(10))
        );
        let another = Dice::from_seed(8).below(u64::MAX);
        assert_ne!(another, Dice::from_seed(7).below(u64::MAX));
    }

    #[test]
    #[should_panic(expected = "HOSTILE_SEED is \"now\": give a number from 0 to 18446744073709551615")]
    fn a_seed_is_a_number() {
        let _ = parse("now");
    }
}
