//! What was made of stored objects besides their stored form: protobuf, another version, events of a watch. Each is made
//! once, kept beside the revision it is of, and dropped with it or when all of them together have grown too large.

use api::Status;
use bytes::Bytes;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that are made before all of it is dropped and made anew as it is asked for. A cluster with 10,000 pods has
/// about 40 MB of them as protobuf.
const MOST_BYTES: usize = 64 << 20;

/// Which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub what: What,
    /// The type of the object in this form (`io.k8s.api.core.v1.Pod`), or the version of its metadata.
    pub of: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The object as protobuf, without an envelope.
    Protobuf,
    /// `PartialObjectMetadata` as protobuf, without an envelope.
    Metadata,
    /// The stored form in another version.
    View,
    /// A frame of a watch: its type, whether it is protobuf, whether it holds metadata alone.
    Event { name: &'static str, protobuf: bool, partial: bool },
}

/// The forms of one revision of an object, or of one change to it: a handful.
#[derive(Debug, Default)]
pub(crate) struct Made(Mutex<Vec<(Form, Bytes)>>);

impl Made {
    fn find(&self, form: &Form) -> Option<Bytes> {
        self.0.lock().iter().find(|(f, _)| f == form).map(|(_, bytes)| bytes.clone())
    }

    pub(super) fn forget(&self) {
        *self.0.lock() = Vec::new();
    }
}

/// Counts what is kept.
#[derive(Debug, Default)]
pub(super) struct Kept(AtomicUsize);

impl Kept {
    /// The form, made if it is not there, and whether it is time to drop all.
    pub(super) fn get(
        &self,
        at: &Made,
        form: Form,
        make: impl FnOnce() -> Result<Vec<u8>, Status>,
    ) -> Result<(Bytes, bool), Status> {
        if let Some(found) = at.find(&form) {
            return Ok((found, false));
        }
        // Two may make the same at once; both are right.
        let made = Bytes::from(make()?);
        let before = self.0.fetch_add(made.len(), Ordering::Relaxed);
        at.0.lock().push((form, made.clone()));
        let full = before < MOST_BYTES && before + made.len() >= MOST_BYTES;
        if full {
            self.0.store(0, Ordering::Relaxed);
        }
        Ok((made, full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form {
        Form { what: What::Protobuf, of: "t".into() }
    }

    #[test]
    fn a_form_is_made_once_and_all_are_dropped_when_there_is_too_much() {
        let (kept, at) = (Kept::default(), Made::default());
        let first = kept.get(&at, form(), || Ok(vec![1; MOST_BYTES / 2])).expect("made");
        assert!(!first.1);
        let again = kept.get(&at, form(), || panic!("it is there")).expect("kept");
        assert_eq!(again.0.as_ptr(), first.0.as_ptr());
        let other = Made::default();
        assert!(kept.get(&other, form(), || Ok(vec![1; MOST_BYTES / 2])).expect("made").1);
        at.forget();
        assert_eq!(kept.get(&at, form(), || Ok(vec![2])).expect("made"), (Bytes::from_static(&[2]), false));
        assert!(kept.get(&at, Form { what: What::View, ..form() }, || Err(Status::internal("no"))).is_err());
    }
}
