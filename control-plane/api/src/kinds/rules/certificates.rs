//! CertificateSigningRequests: what is asked for, and what was made of it.

use super::at::At;
use super::inner;
use super::workloads::{checked, status_updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;
use base64::prelude::{BASE64_STANDARD, Engine};

pub(in crate::kinds) fn certificate_request(object: &Object, out: &mut Vec<FieldError>) {
    // Nobody minds what a request is called.
    checked(
        object,
        |_| Vec::new(),
        out,
        |root, _| {
            let spec = root.field("spec");
            let request = spec.field("request");
            let decoded = BASE64_STANDARD.decode(request.text()).unwrap_or_default();
            let block = first_block(&String::from_utf8_lossy(&decoded));
            if block.as_deref() != Some("CERTIFICATE REQUEST") {
                request.invalid_text(request.text(), "PEM block type must be CERTIFICATE REQUEST");
            }
            let usages = spec.field("usages");
            usages.not_empty();
            usages.items().for_each(|usage| usage.one_of(USAGES));
            for (i, usage) in usages.items().enumerate() {
                if usages.list().iter().take(i).any(|u| Some(u) == usage.value) {
                    usage.duplicate();
                }
            }
            signer(&spec.field("signerName"));
            let seconds = spec.field("expirationSeconds");
            if seconds.int().is_some_and(|s| s < 600) {
                seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)");
            }
        },
    );
}

/// What a certificate may be used for.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

fn signer(at: &At<'_>) {
    match at.text() {
        "" => at.required(""),
        "kubernetes.io/legacy-unknown" => at.invalid("the legacy signerName is not allowed via this API version"),
        text => match text.split_once('/') {
            Some((domain, path)) if domain.contains('.') && !path.is_empty() => {
                for wrong in [names::dns1123_subdomain(domain), names::dns1123_subdomain(path)].concat() {
                    at.invalid(&wrong);
                }
            }
            _ => at.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        },
    }
}

pub(in crate::kinds) fn certificate_update(
    new: &Object,
    old: &Object,
    context: Context<'_>,
    out: &mut Vec<FieldError>,
) {
    status_updated(new, old, context, out, |status| {
        let at = status.field("conditions");
        let before = old.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or(&[]);
        conditions(&at, before);
        for name in DECISIONS {
            let (held, kept) = (of_type(before, name), of_type(at.list(), name));
            if kept.len() < held.len() {
                at.forbidden(&format!("updates may not remove a condition of type {name:?}"));
            } else if *name != "Failed" && context.subresource != "approval" {
                decided(&at, name, &held, &kept);
            }
        }
        certificate(&status.field("certificate"), old.str_at(&["status", "certificate"]), context.subresource);
    });
}

/// Conditions that are there or are not: none of them is ever false.
const DECISIONS: &[&str] = &["Approved", "Denied", "Failed"];

fn of_type<'a>(conditions: &'a [Value], name: &str) -> Vec<&'a Value> {
    conditions.iter().filter(|c| c.get("type").and_then(Value::as_str) == Some(name)).collect()
}

/// What is wrong with conditions; what was wrong before may stay so.
fn conditions(list: &At<'_>, before: &[Value]) {
    let kind = |c: &Value| c.get("type").and_then(Value::as_str).unwrap_or("").to_owned();
    let old: Vec<String> = before.iter().map(kind).collect();
    let twice = old.iter().enumerate().any(|(i, k)| old[..i].contains(k));
    let empty = old.iter().any(String::is_empty);
    let both = |kinds: &[&str]| kinds.contains(&"Approved") && kinds.contains(&"Denied");
    let was_both = both(&old.iter().map(String::as_str).collect::<Vec<_>>());
    let mut seen: Vec<&str> = Vec::new();
    for condition in list.items() {
        let (kind, truth) = (condition.field("type"), condition.field("status"));
        if !empty {
            kind.not_empty();
        }
        match truth.text() {
            "" => truth.required(""),
            _ if DECISIONS.contains(&kind.text()) => truth.one_of(&["True"]),
            _ => truth.one_of(&["False", "True", "Unknown"]),
        }
        let again = seen.contains(&kind.text());
        seen.push(kind.text());
        if !was_both && matches!(kind.text(), "Approved" | "Denied") && both(&seen) {
            list.invalid_text(kind.text(), "Approved and Denied conditions are mutually exclusive");
        }
        if again && !twice {
            kind.duplicate_as(&format!("{:?}", kind.text()), "");
        }
    }
}

/// What only an approval may decide.
fn decided(at: &At<'_>, name: &str, held: &[&Value], kept: &[&Value]) {
    const CONDITION: &str = "io.k8s.api.certificates.v1.CertificateSigningRequestCondition";
    if kept.len() > held.len() {
        at.forbidden(&format!("updates may not add a condition of type {name:?}"));
    } else if held != kept {
        let change = inner::list_changes(held, kept, CONDITION);
        at.forbidden(&format!("updates may not modify a condition of type {name:?}\n{change}"));
    }
}

fn certificate(at: &At<'_>, before: &str, subresource: &str) {
    if at.text() == before {
        return;
    }
    if !at.text().is_empty() {
        let decoded = BASE64_STANDARD.decode(at.text()).unwrap_or_default();
        let why = match first_block(&String::from_utf8_lossy(&decoded)) {
            Some(block) if block == "CERTIFICATE" => None,
            Some(other) => Some(format!("only CERTIFICATE PEM blocks are allowed, found {other:?}")),
            None => Some("must contain at least one CERTIFICATE PEM block".to_owned()),
        };
        if let Some(why) = why {
            at.invalid_text("<certificate data>", &why);
        }
    }
    if subresource != "status" {
        at.forbidden("updates may not set certificate content");
    } else if !before.is_empty() {
        at.forbidden("updates may not modify existing certificate content");
    }
}

/// What the first block of a PEM is said to be.
fn first_block(pem: &str) -> Option<String> {
    let begin = pem.lines().find_map(|line| line.trim_end().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    begin.map(str::to_owned)
}
