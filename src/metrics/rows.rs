//! Series by namespace and name.
//!
//! A row holds the values of one object in little memory; their text is made at each scrape. When the object goes, its
//! row is removed, and its series end.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder},
    metrics::MetricType,
    registry::Unit,
};

/// The rows of all objects of one sort.
#[derive(Debug)]
pub(super) struct Rows<R> {
    rows: Mutex<HashMap<Arc<str>, RowsByName<R>>>,
}

/// The rows of a namespace, by name.
type RowsByName<R> = HashMap<Arc<str>, Arc<R>>;

/// A snapshot of a row with its labels: a slow scrape holds no lock and sees no later change.
pub(super) struct Exported<R> {
    namespace: Arc<str>,
    name: Arc<str>,
    pub(super) row: Arc<R>,
}

/// Writes metric families, one after another.
pub(super) struct Families<'a, R> {
    pub(super) encoder: DescriptorEncoder<'a>,
    pub(super) rows: Vec<Exported<R>>,
}

/// Writes the series of one object in one family.
pub(super) struct Series<'a, 'b, R> {
    family: &'a mut MetricEncoder<'b>,
    exported: &'a Exported<R>,
}

// === impl Rows ===

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self {
            rows: Mutex::default(),
        }
    }
}

impl<R: Clone> Rows<R> {
    /// Adds a row, or has `update` change the one that is there.
    pub(super) fn put(&self, namespace: &Arc<str>, name: &Arc<str>, row: R, update: impl FnOnce(&mut R, R)) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = rows.entry(Arc::clone(namespace)).or_default();
        match rows.get_mut(name) {
            None => {
                rows.insert(Arc::clone(name), Arc::new(row));
            }
            Some(present) => update(Arc::make_mut(present), row),
        }
    }

    /// Changes a row. Adds none if there is none.
    pub(super) fn change(&self, namespace: &str, name: &str, change: impl FnOnce(&mut R)) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.get_mut(namespace).and_then(|rows| rows.get_mut(name)) {
            change(Arc::make_mut(row));
        }
    }

    /// Removes a row.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(by_name) = rows.get_mut(namespace) {
            by_name.remove(name);
            if by_name.is_empty() {
                rows.remove(namespace);
            }
        }
    }

    /// Removes the rows for which `is_known` is false.
    pub(super) fn retain(&self, is_known: impl Fn(&str, &str) -> bool) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.retain(|namespace, by_name| {
            by_name.retain(|name, _| is_known(namespace, name));
            !by_name.is_empty()
        });
    }

    /// Writes the families of all rows as they are now.
    pub(super) fn families<'a>(&self, encoder: DescriptorEncoder<'a>) -> Families<'a, R> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut exported = Vec::with_capacity(rows.values().map(HashMap::len).sum());
        for (namespace, by_name) in &*rows {
            exported.extend(by_name.iter().map(|(name, row)| Exported {
                namespace: Arc::clone(namespace),
                name: Arc::clone(name),
                row: Arc::clone(row),
            }));
        }
        Families {
            encoder,
            rows: exported,
        }
    }
}

// === impl Families ===

impl<R> Families<'_, R> {
    /// Writes a family of gauges.
    pub(super) fn each(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        write: impl Fn(&R, &mut Series<'_, '_, R>) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for exported in &self.rows {
            write(
                &exported.row,
                &mut Series {
                    family: &mut family,
                    exported,
                },
            )?;
        }
        Ok(())
    }
}

// === impl Series ===

impl<R> Series<'_, '_, R> {
    /// Writes a series with one more label.
    pub(super) fn gauge(&mut self, label: [(&str, &str); 1], value: i64) -> fmt::Result {
        let labels = (self.exported.labels(), label);
        self.encode(&labels, value)
    }

    /// Writes a series without another label, if there is a value.
    pub(super) fn optional(&mut self, value: Option<i64>) -> fmt::Result {
        match value {
            Some(value) => self.encode(&self.exported.labels(), value),
            None => Ok(()),
        }
    }

    fn encode(&mut self, labels: &impl EncodeLabelSet, value: i64) -> fmt::Result {
        self.family.encode_family(labels)?.encode_gauge(&value)
    }
}

// === impl Exported ===

impl<R> Exported<R> {
    pub(super) fn labels(&self) -> [(&str, &str); 2] {
        [("namespace", &self.namespace), ("name", &self.name)]
    }
}
