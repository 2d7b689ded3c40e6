//! How much a test tries: little with every change, much where somebody wants to be sure.

/// Set to `full` by `make test-hostile`.
pub const HOSTILE: &str = "HOSTILE";

/// `full` where the environment says `HOSTILE=full`, else `small`.
#[must_use]
pub fn budget<T>(small: T, full: T) -> T {
    if std::env::var_os(HOSTILE).is_some_and(|value| value == "full") {
        full
    } else {
        small
    }
}
