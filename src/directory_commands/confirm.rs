//! A person confirms by typing what the command asks for.

use std::io::{self, IsTerminal as _, Write as _};

/// Why a command was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// Nobody can be asked.
    #[error("nobody can confirm: standard input is not a terminal. {0}")]
    NoTerminal(&'static str),
    /// Something else was typed.
    #[error("not confirmed, so nothing was changed")]
    Refused,
}

/// Asks a person on the terminal, and reads one line. `instead` says what a pipeline has in place of the question.
pub(super) fn typed(question: &str, expected: &str, instead: &'static str) -> Result<(), Unconfirmed> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Unconfirmed::NoTerminal(instead));
    }
    // The output may go to a file. If nobody sees the question, nobody types the answer.
    let mut terminal = io::stderr();
    let asked = write!(terminal, "{question}: ").and_then(|()| terminal.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| input.read_line(&mut answer));
    if read.is_ok() && answer.trim() == expected {
        Ok(())
    } else {
        Err(Unconfirmed::Refused)
    }
}
