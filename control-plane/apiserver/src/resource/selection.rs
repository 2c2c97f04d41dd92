//! The selectors of a request, matched on what the cache has indexed of an object.

use crate::cache::{Entry, Index};
use crate::request::RequestInfo;
use api::selector::{FieldSelector, LabelSelector};
use api::{Kind, Status};

#[derive(Debug)]
pub(super) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    pub(super) fn parse(kind: &Kind, info: &RequestInfo) -> Result<Selection, Status> {
        let labels = LabelSelector::parse(&info.label_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        let fields = FieldSelector::parse(&info.field_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        fields.check(kind)?;
        Ok(Selection { labels, fields })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    pub(super) fn takes(&self, kind: &Kind, entry: &Entry) -> bool {
        if self.is_empty() {
            return true;
        }
        entry.indexed(kind, |index| self.fits(index))
    }

    fn fits(&self, index: &Index) -> bool {
        self.labels.matches(|key| index.labels.get(key).map(|v| v.as_str()))
            && self.fields.requirements().iter().all(|requirement| {
                let value = match requirement.field.as_str() {
                    "metadata.name" => &*index.name,
                    "metadata.namespace" => &*index.namespace,
                    other => index.fields.iter().find(|(name, _)| *name == other).map_or("", |(_, v)| v),
                };
                (requirement.value == value) != requirement.not
            })
    }
}
