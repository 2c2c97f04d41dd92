//! Types and fields in the words of Go's decoder, which messages about values of a wrong type use: upstream's names for
//! texts with a meaning (`v1.Protocol`), and structs that stand in others by their fields alone.

use super::{Field, Schema, Type};
use crate::codec::Step;
use crate::codec::protobuf::embedded;
use std::ptr;

/// `type`, field and the field's type in Go, where that does not follow from the table.
const NAMED: &str = include_str!("../../tables/go_types.txt");

/// The name of `ty`, which is the type of a field or of what it holds; `None` where it has none of its own.
pub(super) fn named(schema: &Schema, field: &Field, ty: &Type) -> Option<String> {
    let full = schema.full_name();
    let mut name = NAMED.lines().find_map(|line| {
        let (of, rest) = line.split_once('\t')?;
        let (name, type_name) = rest.split_once('\t')?;
        (of == full && name == field.name).then_some(type_name)
    })?;
    let mut outer = &field.ty;
    while !ptr::eq(outer, ty) {
        (outer, name) = match outer {
            Type::List(item) => (&**item, name.strip_prefix("[]")?),
            Type::Map(item) => (&**item, name.split_once(']')?.1),
            _ => return None,
        };
    }
    Some(name.to_owned())
}

/// The values that a field may have, or the elements of its list, where they are enumerated.
pub(super) fn values(schema: &Schema, field: &Field) -> Option<Vec<&'static str>> {
    let item = match &field.ty {
        Type::List(item) => item,
        ty => ty,
    };
    let name = named(schema, field, item)?;
    let (_, name) = name.split_once('.')?;
    let shared = ["io.k8s.api.core.v1", "io.k8s.apimachinery.pkg.apis.meta.v1"];
    std::iter::once(schema.package).chain(shared).find_map(|of| super::enum_values(&format!("{of}.{name}")))
}

/// Whether a type is of whole objects, whose own type stands in a struct of its own.
fn is_object(schema: &Schema) -> bool {
    schema.field("metadata").and_then(|f| f.ty.schema()).is_some_and(|s| s.name == "ObjectMeta")
}

/// The fields on the way to a value, embedded structs among them: `spec.volumes.VolumeSource.nfs`.
pub(super) fn path(root: Option<&'static Schema>, steps: &[Step]) -> String {
    let (mut at, mut out) = (root, Vec::new());
    for step in steps {
        match step {
            // The decoder's messages do not name the keys of maps.
            Step::Key(key) if !key.starts_with('\0') => {
                out.extend(at.iter().flat_map(|schema| embedded(schema, key)));
                if !out.is_empty() && matches!(key.as_str(), "kind" | "apiVersion") && at.is_some_and(is_object) {
                    out.push("TypeMeta");
                }
                out.push(key.as_str());
                at = at.and_then(|schema| schema.field(key)?.ty.schema());
            }
            Step::Key(_) | Step::Index(_) => {}
        }
    }
    out.join(".")
}
