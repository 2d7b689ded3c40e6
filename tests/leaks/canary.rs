//! Texts that must not come out: made anew in each run, and like nothing that a program says.

use std::{collections::HashSet, sync::Mutex};

use crate::search::WINDOW;

/// Length of a canary.
const LENGTH: usize = 24;
/// No hexadecimal digits and no vowels among the letters: neither a UID nor a word holds three of them with a digit.
const LETTERS: &[u8] = b"GHJKMNPQRTVWXZghjkmnpqrtvwxz";
const DIGITS: &[u8] = b"23456789";
/// What a key may hold and encodings change.
const SIGNS: &[u8] = b"~?>\"\\&+/=<";

/// Every canary of a run, each with what it stands for.
#[derive(Default)]
pub(crate) struct Canaries(Mutex<Vec<(String, String)>>);

impl Canaries {
    /// A text that may stand anywhere: letters and digits.
    pub(crate) fn text(&self, what: impl Into<String>) -> String {
        self.keep(what, |at| if at % 3 == 2 { DIGITS } else { LETTERS })
    }

    /// One that only an API key can be, with signs that encodings change.
    pub(crate) fn key(&self, what: impl Into<String>) -> String {
        self.keep(what, |at| match at % 5 {
            1 => DIGITS,
            3 => SIGNS,
            _ => LETTERS,
        })
    }

    /// A secret that was made elsewhere.
    pub(crate) fn adopt(&self, what: impl Into<String>, text: &str) {
        self.0.lock().unwrap().push((what.into(), text.to_owned()));
    }

    /// No two have six characters in common, in either direction: what is found tells which it is.
    fn keep(&self, what: impl Into<String>, alphabet: impl Fn(usize) -> &'static [u8]) -> String {
        let mut canaries = self.0.lock().unwrap();
        loop {
            let canary: String = (0..LENGTH)
                .map(|at| {
                    let alphabet = alphabet(at);
                    char::from(alphabet[rand::random_range(..alphabet.len())])
                })
                .collect();
            let own = windows(&canary);
            if canaries.iter().all(|(_, other)| windows(other).is_disjoint(&own)) {
                canaries.push((what.into(), canary.clone()));
                return canary;
            }
        }
    }

    /// All of them: what each stands for, and the text.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().clone()
    }
}

/// What a search would find of it, forwards and backwards.
fn windows(canary: &str) -> HashSet<Vec<u8>> {
    let forwards = canary.to_ascii_lowercase().into_bytes();
    let backwards: Vec<u8> = forwards.iter().rev().copied().collect();
    let both = forwards.windows(WINDOW).chain(backwards.windows(WINDOW));
    both.map(<[u8]>::to_vec).collect()
}
