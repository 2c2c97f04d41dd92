//! Expressions in the API: the rules of custom resources, compiled once for each version of a definition, and what must
//! be right about them when the definition is written.
//!
//! The language is `expr`'s; here it meets schemas, objects and field errors.

mod compile;
mod costs;
mod declare;
mod definition;
mod field_path;
mod policies;
mod texts;
mod tree;
mod validate;

#[cfg(test)]
mod tests;

use api::Kind;
use std::sync::Arc;

/// Hangs the rules of its schema on a kind that was defined at run time.
pub(crate) fn with_rules(mut kind: Kind) -> Kind {
    let schema = kind.custom.as_ref().map(|custom| &custom.schema);
    if let Some(schema) = schema.filter(|s| compile::has_rules(s)) {
        kind.rules = Some(Arc::new(validate::SchemaRules::new(schema)));
    }
    kind
}

/// Hangs the checks that a built-in kind has not got by itself on it: of the expressions that its objects hold, of requests
/// for certificates.
pub(crate) fn with_checks(mut kind: Kind) -> Kind {
    if kind.names.group == "apiextensions.k8s.io" && kind.names.plural == "customresourcedefinitions" {
        kind.rules = Some(Arc::new(definition::DefinitionRules));
    } else if kind.names.group == "certificates.k8s.io" && kind.names.plural == "certificatesigningrequests" {
        kind.rules = Some(Arc::new(crate::admission::certificates::Readable));
    } else if let Some(holder) = policies::Holder::of(&kind.names.group, &kind.names.plural) {
        kind.rules = Some(Arc::new(holder));
    }
    kind
}
