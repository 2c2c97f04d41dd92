//! What the addresses, families and policy of a Service say of one another, and how they may change.

use super::at::{At, Errors};
use super::words;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;
use std::net::IpAddr;

/// One of each family.
const MOST: usize = 2;
const KEPT: &str = "may not change once set";

/// Everything that is wrong with the addresses of a Service that has some, whatever the cluster has. It is asked before
/// addresses are given out, and again with all other rules.
pub fn service_addresses(new: &Object, old: Option<&Object>) -> Vec<FieldError> {
    let errors = Errors::default();
    related(&At::root(new, &errors).field("spec"), old);
    errors.into_list()
}

pub(super) fn related(spec: &At<'_>, old: Option<&Object>) {
    let before = spec.errors_count();
    families(spec);
    addresses(spec);
    if spec.errors_count() == before
        && let Some(old) = old
    {
        changes(spec, old);
    }
}

fn families(spec: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for family in spec.field("ipFamilies").items() {
        family.one_of(&["IPv4", "IPv6"]);
        if seen.contains(&family.text()) {
            family.duplicate();
        }
        seen.push(family.text());
    }
    spec.field("ipFamilyPolicy").maybe_one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"]);
}

fn addresses(spec: &At<'_>) {
    let (own, ips) = (spec.get("clusterIP"), spec.field("clusterIPs"));
    match (own, ips.items().next().map(|ip| ip.text())) {
        ("", Some(_)) => return ips.invalid("must be empty when `clusterIP` is not specified"),
        (own, Some(first)) if own != first => return ips.invalid("first value must match `clusterIP`"),
        ("" | "None", None) => {}
        (own, None) => words::ip(own).iter().for_each(|why| ips.key(0).invalid_text(own, why)),
        _ => {}
    }
    if ips.len() > MOST {
        return ips.invalid("may only hold up to 2 values");
    }
    if own == "None" && ips.len() > 1 {
        ips.invalid("'None' must be the first and only value");
    }
    let families: Vec<&str> = spec.field("ipFamilies").list().iter().filter_map(Value::as_str).collect();
    let mut found = Vec::new();
    for (n, ip) in ips.items().enumerate().filter(|(n, ip)| *n > 0 || ip.text() != "None") {
        let Ok(address) = ip.text().parse::<IpAddr>() else {
            ip.matches(words::ip);
            continue;
        };
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        if let Some(expected) = families.get(n).filter(|expected| **expected != family) {
            ip.invalid(&format!("expected an {expected} value as indicated by `ipFamilies[{n}]`"));
        }
        found.push(family);
    }
    if let [one, other] = found[..]
        && one == other
    {
        ips.invalid("may specify no more than one IP for each IP family");
    }
}

/// The first of each stays as long as there is one; a second comes and goes by the policy.
pub(super) fn changes(spec: &At<'_>, old: &Object) {
    if old.str_at(&["spec", "type"]) == "ExternalName" {
        return;
    }
    for (key, released) in [
        ("clusterIPs", "must be 'SingleStack' to release the secondary cluster IP"),
        ("ipFamilies", "must be 'SingleStack' to release the secondary IP family"),
    ] {
        let now = spec.field(key);
        let before = old.at(&["spec", key]).and_then(Value::as_list).unwrap_or_default();
        let differs = |n: &usize| before.get(*n) != now.list().get(*n);
        let looked_at = if before.len() == now.len() { before.len() } else { before.len().min(1) };
        for n in (0..looked_at).filter(differs) {
            now.named(format!("spec.{key}[{n}]")).invalid(KEPT);
        }
        let policy = spec.field("ipFamilyPolicy");
        if before.len() > now.len() && now.len() == 1 && policy.text() != "SingleStack" {
            policy.invalid(released);
        }
    }
}
