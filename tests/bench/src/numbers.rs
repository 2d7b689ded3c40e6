//! Many measurements in a few numbers.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// Measurements, in order of size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distribution(Vec<f64>);

impl Distribution {
    /// Puts them in order.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The one that so many of a thousand do not exceed; 0 where there are none.
    pub(crate) fn quantile(&self, per_mille: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let rank = (self.0.len() * per_mille / 1000).min(last);
        self.0.get(rank).copied().unwrap_or_default()
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(500)
    }

    /// The greatest.
    pub(crate) fn max(&self) -> f64 {
        self.quantile(1000)
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Distribution", 5)?;
        out.serialize_field("count", &self.count())?;
        out.serialize_field("p50", &self.median())?;
        out.serialize_field("p95", &self.quantile(950))?;
        out.serialize_field("p99", &self.quantile(990))?;
        out.serialize_field("max", &self.max())?;
        out.end()
    }
}

/// A count as a number to reckon with.
#[expect(
    clippy::cast_precision_loss,
    reason = "nothing that is counted here comes near 2^52"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// A length as a number to reckon with.
pub(crate) fn size(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}

/// One by the other; 0 where the other is nothing.
pub(crate) fn ratio(one: f64, other: f64) -> f64 {
    if other > 0.0 { one / other } else { 0.0 }
}

/// Microseconds since 1970, the clock that all processes of one machine share.
pub(crate) fn now_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements() {
        let distribution = Distribution::of((1..=100).rev().map(f64::from));
        assert!((distribution.median() - 51.0).abs() < f64::EPSILON);
        assert!((distribution.quantile(950) - 96.0).abs() < f64::EPSILON);
        assert!((distribution.max() - 100.0).abs() < f64::EPSILON);
        assert!(Distribution::default().max().abs() < f64::EPSILON);
    }
}
