//! The selectors of a request: where the cache has to look, and what it takes of what is there.

use crate::cache::{Entry, Facet, Place, Wanted};
use crate::registry::options::{self, ListOptions};
use crate::request::RequestInfo;
use api::kind::Scope;
use api::selector::{FieldSelector, LabelSelector, Operator};
use api::{Kind, Status};
use smol_str::SmolStr;
use std::sync::Arc;

/// What a list or a watch asks for.
pub(super) fn asked(kind: &Kind, info: &RequestInfo, watch: bool) -> Result<(ListOptions, Selection), Status> {
    options::list(&info.query, watch, || Selection::parse(info), |selection| selection.fields.check(kind))
}

#[derive(Debug)]
pub(super) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    fn parse(info: &RequestInfo) -> Result<Selection, Status> {
        let labels = LabelSelector::parse(&info.label_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        let fields = FieldSelector::parse(&info.field_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        Ok(Selection { labels, fields })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    pub(super) fn takes(&self, kind: &Kind, entry: &Entry) -> bool {
        self.fields.requirements().iter().all(|r| (entry.field(kind, &r.field) == r.value) != r.not)
            && (self.labels.is_everything() || self.labels.matches(|key| entry.label(key).map(SmolStr::as_str)))
    }

    /// Where everything is that this selection takes of the objects below `below` (`NAMESPACE/`, or all).
    pub(super) fn place(&self, kind: &Arc<Kind>, below: &str) -> Place {
        let (name, namespace) = (self.fields.exactly("metadata.name"), self.fields.exactly("metadata.namespace"));
        let below = match namespace.filter(|n| below.is_empty() && kind.scope == Scope::Namespaced && !n.is_empty()) {
            Some(namespace) => format!("{namespace}/"),
            None => below.to_owned(),
        };
        let unique = kind.scope == Scope::Cluster || !below.is_empty();
        Place {
            kind: kind.clone(),
            key: name.filter(|_| unique).map(|name| format!("{below}{name}")),
            wanted: self.wanted(kind),
            below,
        }
    }

    fn wanted(&self, kind: &Kind) -> Vec<Wanted> {
        let one = |r: &api::selector::FieldRequirement| Wanted {
            facet: Facet::field(kind, &r.field),
            values: vec![r.value.as_str().into()],
        };
        // The namespace is a range of keys.
        let fields = self.fields.requirements().iter().filter(|r| !r.not && r.field != "metadata.namespace").map(one);
        let listed = |o: Operator| matches!(o, Operator::In | Operator::Equals | Operator::DoubleEquals);
        let labels = self.labels.requirements().iter().filter(|r| listed(r.operator)).map(|r| Wanted {
            facet: Facet::Label(r.key.as_str().into()),
            values: r.values.iter().map(|v| v.as_str().into()).collect(),
        });
        fields.chain(labels).collect()
    }
}
