//! One object at one revision, and what selectors look at in it.

use super::forms::Made;
use api::{Kind, Object, Status, Value};
use bytes::Bytes;
use smol_str::SmolStr;
use std::borrow::Cow;
use std::sync::OnceLock;

pub(super) const NAME: &str = "metadata.name";
pub(super) const NAMESPACE: &str = "metadata.namespace";

#[derive(Debug)]
pub(crate) struct Entry {
    /// The key below the kind's prefix: `NAMESPACE/NAME` or `NAME`.
    pub name: Bytes,
    /// As it is stored; see `registry::encoding`.
    pub value: Bytes,
    pub revision: u64,
    pub made: Made,
    /// Where the metadata ends in `value`, looked for once.
    metadata_end: OnceLock<usize>,
    /// In the order of their keys. Labels are the same in every version of a kind.
    labels: OnceLock<Box<[(SmolStr, SmolStr)]>>,
    /// Of the version of the kind that is asked for first; others are read each time.
    fields: OnceLock<(SmolStr, Fields)>,
}

/// The values of the fields that a kind offers to selectors.
pub(super) type Fields = Box<[(Cow<'static, str>, SmolStr)]>;

impl Entry {
    pub(crate) fn new(name: Bytes, value: Bytes, revision: u64) -> Entry {
        Entry {
            name,
            value,
            revision,
            made: Made::default(),
            metadata_end: OnceLock::new(),
            labels: OnceLock::new(),
            fields: OnceLock::new(),
        }
    }

    pub(crate) fn decode(&self, kind: &Kind) -> Result<Object, Status> {
        crate::registry::decode(kind, &self.value, self.revision)
    }

    /// The metadata of the stored value; see `registry::metadata`.
    pub(crate) fn metadata(&self) -> &[u8] {
        let end = *self.metadata_end.get_or_init(|| crate::registry::metadata(&self.value).len());
        &self.value[..end]
    }

    pub(crate) fn label(&self, key: &str) -> Option<&SmolStr> {
        let labels = self.labels();
        let at = labels.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        Some(&labels[at].1)
    }

    pub(super) fn labels(&self) -> &[(SmolStr, SmolStr)] {
        self.labels.get_or_init(|| {
            let meta = crate::registry::decode_metadata(self.metadata(), 0).unwrap_or_default();
            let labels = meta.get("labels").and_then(Value::as_map).into_iter().flat_map(|m| m.iter());
            let mut labels: Vec<(SmolStr, SmolStr)> =
                labels.filter_map(|(k, v)| Some((k.as_str().into(), v.as_str()?.into()))).collect();
            labels.sort_unstable();
            labels.into()
        })
    }

    /// The value of a field that the kind offers to selectors; empty where it has none.
    pub(crate) fn field(&self, kind: &Kind, field: &str) -> SmolStr {
        let (namespace, name) = self.place();
        match field {
            NAME => name.into(),
            NAMESPACE => namespace.into(),
            _ => self.with_fields(kind, |fields| value(fields, field)),
        }
    }

    /// Hands all the fields that the kind offers to selectors to `look`.
    pub(super) fn with_fields<R>(&self, kind: &Kind, look: impl FnOnce(&Fields) -> R) -> R {
        let version: SmolStr = crate::registry::type_of(kind).into();
        let made = self.fields.get_or_init(|| (version.clone(), self.make_fields(kind)));
        match made.0 == version {
            true => look(&made.1),
            false => look(&self.make_fields(kind)),
        }
    }

    /// The namespace, empty for cluster-scoped kinds, and the name.
    pub(super) fn place(&self) -> (&str, &str) {
        let key = std::str::from_utf8(&self.name).unwrap_or("");
        key.split_once('/').unwrap_or(("", key))
    }

    fn make_fields(&self, kind: &Kind) -> Fields {
        let object = self.decode(kind).unwrap_or_default();
        kind.selectable(&object).into_iter().map(|(field, value)| (field, value.into())).collect()
    }
}

fn value(fields: &Fields, field: &str) -> SmolStr {
    fields.iter().find(|(f, _)| f == field).map(|(_, value)| value.clone()).unwrap_or_default()
}
