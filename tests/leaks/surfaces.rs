//! Everything that comes out of the program, and the one judgement over it.

use std::fmt::Write as _;

use crate::{canary::Canaries, search::Search};

/// Outputs of a run, by name.
#[derive(Default)]
pub(crate) struct Outputs(Vec<Output>);

struct Output {
    name: String,
    bytes: Vec<u8>,
    /// Canaries that belong there.
    expected: Vec<String>,
}

impl Outputs {
    /// Takes in an output. It must hold `proof`: an output that was not really collected holds no canary either.
    #[track_caller]
    pub(crate) fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>, proof: &str) {
        self.add_with(name, bytes, proof, &[]);
    }

    /// The same for an output in which some canaries belong, such as a password in the environment that holds it.
    #[track_caller]
    pub(crate) fn add_with(
        &mut self,
        name: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        proof: &str,
        expected: &[&str],
    ) {
        let (name, bytes) = (name.into(), bytes.into());
        assert!(
            String::from_utf8_lossy(&bytes).contains(proof),
            "{name} has no {proof:?} in it, and so proves nothing:\n{}",
            String::from_utf8_lossy(&bytes)
        );
        self.0.push(Output {
            name,
            bytes,
            expected: expected.iter().map(|name| (*name).to_owned()).collect(),
        });
    }

    /// Searches every output for every canary.
    #[track_caller]
    pub(crate) fn assert_clean(&self, canaries: &Canaries) {
        assert!(!self.0.is_empty() && !canaries.all().is_empty());
        let search = Search::new(&canaries.all());
        let mut report = String::new();
        for Output {
            name,
            bytes,
            expected,
        } in &self.0
        {
            let mut told = Vec::new();
            for found in search.find(bytes) {
                // One line for each canary, however many encodings leave it as it is.
                if !expected.contains(&found.canary) && !told.contains(&found.canary) {
                    writeln!(
                        report,
                        "{name} shows: {} ({})\n    {}",
                        found.canary, found.encoding, found.excerpt
                    )
                    .unwrap();
                    told.push(found.canary);
                }
            }
        }
        assert!(
            report.is_empty(),
            "\n{report}find out who writes it, and mend that"
        );
    }
}
