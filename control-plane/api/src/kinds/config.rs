//! ConfigMaps and Secrets.

use super::fill::{made, put_text};
use super::rules;
use super::{columns, names};
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use crate::value::Value;
use base64::prelude::{BASE64_STANDARD, Engine};
use std::borrow::Cow;

pub static CONFIG_MAP: Kind = Kind {
    names: names!("", "v1", "ConfigMap", "configmaps", "configmap", ["cm"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ConfigMap"),
    columns: columns![("Name", "string", "name", 0), ("Data", "string", "", 0), ("Age", "string", "", 0),],
    cells: table::config_maps,
    validate: rules::config_map,
    validate_update: rules::config_map_update,
    ..Kind::PLAIN
};

pub static SECRET: Kind = Kind {
    names: names!("", "v1", "Secret", "secrets", "secret", [], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Secret"),
    columns: columns![
        ("Name", "string", "name", 0),
        ("Type", "string", "", 0),
        ("Data", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    default: secret,
    selectable: |o| vec![("type", o.str_at(&["type"]).to_owned())],
    selectable_fields: &["type"],
    cells: table::secrets,
    validate: rules::secret,
    validate_update: rules::secret_update,
    warnings: rules::secret_warnings,
    ..Kind::PLAIN
};

/// `stringData` is for writing only: it goes into `data`.
fn secret(object: &mut Object) {
    put_text(&mut object.0, "type", "Opaque");
    if let Some(Value::Map(plain)) = object.0.remove("stringData") {
        let data = made(&mut object.0, "data");
        for (key, value) in plain {
            data.insert(key, BASE64_STANDARD.encode(value.as_str().unwrap_or("")));
        }
    }
}
