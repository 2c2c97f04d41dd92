//! Volumes whose files the kubelet writes: of Secrets and ConfigMaps, of the pod's own fields, and of several together.

use super::at::At;
use super::{environment, words};

fn mode(at: &At<'_>) {
    if at.int().is_some_and(|m| !(0..=0o777).contains(&m)) {
        at.invalid("must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// The files of a Secret or a ConfigMap, which `name` names.
pub(super) fn files(at: &At<'_>, name: &str) {
    at.field(name).not_empty();
    mode(&at.field("defaultMode"));
    at.field("items").items().for_each(|i| key_to_path(&i));
}

fn key_to_path(at: &At<'_>) {
    at.field("key").not_empty();
    at.field("path").not_empty();
    words::strict_local_path(&at.field("path"));
    mode(&at.field("mode"));
}

/// Files of fields of the pod.
pub(super) fn downward(at: &At<'_>) {
    mode(&at.field("defaultMode"));
    at.field("items").items().for_each(|i| downward_file(at, &i));
}

/// `list` is where complaints about the file are said to stand.
fn downward_file(list: &At<'_>, file: &At<'_>) {
    let place = |key: &str| file.field(key).named(format!("{}.{key}", list.path));
    place("path").not_empty();
    words::strict_local_path(&place("path"));
    match (file.has("fieldRef"), file.has("resourceFieldRef")) {
        (true, both) => {
            environment::field_ref(&place("fieldRef"), environment::FILE_FIELDS);
            if both {
                list.invalid_text("resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
            }
        }
        (false, true) => environment::resource_ref(&place("resourceFieldRef"), true),
        (false, false) => list.required("one of fieldRef and resourceFieldRef is required"),
    }
    mode(&place("mode"));
}

const PROJECTED: &[&str] = &["secret", "configMap", "downwardAPI", "serviceAccountToken"];

/// Several sources in one volume, no two of them with the same file.
pub(super) fn projected(at: &At<'_>) {
    mode(&at.field("defaultMode"));
    let mut paths: Vec<&str> = Vec::new();
    for source in at.field("sources").items() {
        let set: Vec<&&str> = PROJECTED.iter().filter(|p| source.has(p)).collect();
        set.iter().for_each(|name| projection(at, &source.field(name), name, &mut paths));
        if set.len() > 1 {
            source.forbidden("may not specify more than 1 volume type per source");
        }
    }
}

fn projection<'a>(volume: &At<'_>, at: &At<'a>, name: &str, paths: &mut Vec<&'a str>) {
    let mut take = |path: &'a str, shown: &str| {
        if !path.is_empty() && paths.contains(&path) {
            volume.invalid_text(shown, "conflicting duplicate paths");
        }
        paths.push(path);
    };
    match name {
        "secret" | "configMap" => {
            at.field("name").not_empty();
            for item in at.field("items").items() {
                key_to_path(&item);
                take(item.get("path"), at.get("name"));
            }
        }
        "downwardAPI" => {
            for item in at.field("items").items() {
                downward_file(at, &item);
                take(item.get("path"), item.get("path"));
            }
        }
        _ => token(volume, at),
    }
}

/// Ten minutes, and the longest time that is told in seconds.
const TOKEN_SECONDS: (i64, i64) = (600, 1 << 32);

fn token(volume: &At<'_>, at: &At<'_>) {
    let seconds = at.field("expirationSeconds");
    match seconds.int().unwrap_or(0) {
        s if s < TOKEN_SECONDS.0 => seconds.invalid("may not specify a duration less than 10 minutes"),
        s if s > TOKEN_SECONDS.1 => seconds.invalid("may not specify a duration larger than 2^32 seconds"),
        _ => {}
    }
    let path = at.field("path").named(format!("{}.path", volume.path));
    match path.text() {
        "" => path.required(""),
        _ => words::strict_local_path(&path),
    }
}
