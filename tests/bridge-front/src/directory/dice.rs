//! Numbers without pattern, the same in each run: the order of lists, and what they lack.

use super::habits::Missing;

/// A `SplitMix64` generator.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.roll() % limit).unwrap_or_default()
    }

    pub(super) fn shuffle<T>(&mut self, entries: &mut [T]) {
        for place in (1..entries.len()).rev() {
            entries.swap(place, self.below(place + 1));
        }
    }

    /// Takes some entries away, as the habit has it.
    pub(super) fn lose<T>(&mut self, entries: &mut Vec<T>, missing: Missing) {
        match missing {
            Missing::None => {}
            Missing::Last { count } => entries.truncate(entries.len().saturating_sub(count as usize)),
            Missing::Beyond { count } => entries.truncate(count as usize),
            Missing::Random { percent } => entries.retain(|_| self.below(100) >= usize::from(percent)),
        }
    }

    /// 26 characters of base 32 in lower case.
    pub(super) fn id(&mut self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let letter = |index: usize| ALPHABET.get(index).copied().map_or('a', char::from);
        (0..26).map(|_| letter(self.below(ALPHABET.len()))).collect()
    }
}
