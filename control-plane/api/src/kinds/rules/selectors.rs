//! Selectors of labels and of nodes.

use super::at::At;
use crate::names;

pub(super) const LABEL_SELECTOR: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector";
const NO_OPERATOR: &str = "not a valid selector operator";

/// A `LabelSelector`.
pub(super) fn label_selector(at: &At<'_>) {
    super::metadata::labels(&at.field("matchLabels"));
    at.field("matchExpressions").items().for_each(|e| label_requirement(&e));
}

fn label_requirement(at: &At<'_>) {
    let values = at.field("values");
    match at.get("operator") {
        "In" | "NotIn" if values.is_empty() => values.required("must be specified when `operator` is 'In' or 'NotIn'"),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => at.field("operator").invalid_text(other, NO_OPERATOR),
    }
    label_name(&at.field("key"));
    values.items().for_each(|v| v.matches(names::label_value));
}

pub(super) fn label_name(at: &At<'_>) {
    at.matches(names::qualified_name);
}

/// Whether a selector selects everything, being there but empty.
pub(super) fn selects_all(at: &At<'_>) -> bool {
    at.field("matchLabels").is_empty() && at.field("matchExpressions").is_empty()
}

/// A `NodeSelector`.
pub(super) fn node_selector(at: &At<'_>) {
    let terms = at.field("nodeSelectorTerms");
    if terms.is_empty() {
        terms.required("must have at least one node selector term");
    }
    terms.items().for_each(|t| node_term(&t, true));
}

/// A term; values of one that is only preferred may be anything.
pub(super) fn node_term(at: &At<'_>, required: bool) {
    at.field("matchExpressions").items().for_each(|e| node_requirement(&e, required));
    at.field("matchFields").items().for_each(|f| field_requirement(&f));
}

fn node_requirement(at: &At<'_>, required: bool) {
    let values = at.field("values");
    match at.get("operator") {
        "In" | "NotIn" if values.is_empty() => values.required("must be specified when `operator` is 'In' or 'NotIn'"),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if values.len() != 1 => {
            values.required("must be specified single value when `operator` is 'Lt' or 'Gt'")
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => at.field("operator").invalid_text(other, NO_OPERATOR),
    }
    label_name(&at.field("key"));
    if required {
        values.items().for_each(|v| v.matches(names::label_value));
    }
}

fn field_requirement(at: &At<'_>) {
    let values = at.field("values");
    match at.get("operator") {
        "In" | "NotIn" if values.len() != 1 => {
            values.required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        }
        "In" | "NotIn" => {}
        other => at.field("operator").invalid_text(other, NO_OPERATOR),
    }
    match at.get("key") {
        "metadata.name" => values.items().for_each(|v| v.matches(names::dns1123_subdomain)),
        other => at.field("key").invalid_text(other, "not a valid field selector key"),
    }
}
