//! How errors read in a failed test.
//!
//! The test harness prints errors with `{:?}`. A derived `Debug` shows field names and log tails with escaped line
//! ends; here every error shows its message, its causes, and its log lines as lines.

use std::{
    error::Error,
    fmt::{self, Debug, Formatter},
    iter,
};

/// Any error, for the return type of a test: `async fn it_works() -> Result<(), Failure>`.
pub struct Failure(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl Debug for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_chain(self.0.as_ref(), f)
    }
}

/// Writes the message and, below it, what caused it.
pub(crate) fn write_chain(error: &(dyn Error + 'static), f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    causes(error).try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
}

/// The message and its causes in one line.
pub(crate) fn one_line(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source())
}

/// Gives an error type a `Debug` that is its message and its causes.
macro_rules! debug_is_message {
    ($($error:ty),+) => {$(
        impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::failure::write_chain(self, f)
            }
        }
    )+};
}
pub(crate) use debug_is_message;
