//! What the addresses, families and policy of a Service say of one another, and how they may change.

use super::at::{At, Errors};
use super::words;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;
use std::cmp::Ordering;
use std::net::IpAddr;

/// One of each family.
const MOST: usize = 2;
const KEPT: &str = "may not change once set";

/// Everything that is wrong with the addresses of a Service that has some, whatever the cluster has. It is asked before
/// addresses are given out, and again with all other rules.
pub fn service_addresses(new: &Object, old: Option<&Object>) -> Vec<FieldError> {
    let errors = Errors::default();
    let spec = At::root(new, &errors).field("spec");
    related(&spec);
    if let Some(old) = old.filter(|_| errors.count() == 0) {
        releases(&spec, old);
    }
    errors.into_list()
}

/// Who gives the second of something back asks for one of everything.
fn releases(spec: &At<'_>, old: &Object) {
    let policy = spec.field("ipFamilyPolicy");
    for (key, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let before = old.at(&["spec", key]).and_then(Value::as_list).map_or(0, <[Value]>::len);
        if (1..before).contains(&spec.field(key).len()) && policy.text() != "SingleStack" {
            policy.invalid(&format!("must be 'SingleStack' to release the secondary {what}"));
        }
    }
}

/// What the addresses, the families and the policy of a Service say of one another.
pub(super) fn related(spec: &At<'_>) {
    if spec.get("type") == "ExternalName" {
        return;
    }
    let (own, ips) = (spec.get("clusterIP"), spec.field("clusterIPs"));
    match (own, ips.items().next().map(|ip| ip.text())) {
        ("", Some(_)) => ips.invalid("must be empty when `clusterIP` is not specified"),
        (own, Some(first)) if own != first => ips.invalid("first value must match `clusterIP`"),
        ("" | "None", None) => {}
        // The server itself names the first of them after the one.
        (own, None) => words::ip(own).iter().for_each(|why| ips.key(0).invalid_text(own, why)),
        _ => {}
    }
    let mut seen: Vec<&str> = Vec::new();
    for family in spec.field("ipFamilies").items() {
        family.one_of(&["IPv4", "IPv6"]);
        if seen.contains(&family.text()) {
            family.duplicate();
        }
        seen.push(family.text());
    }
    spec.field("ipFamilyPolicy").maybe_one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"]);
    if each(&ips) {
        together(spec, &ips);
    }
}

/// Whether each of the addresses is good.
fn each(ips: &At<'_>) -> bool {
    let mut good = true;
    for (n, ip) in ips.items().enumerate() {
        if n == 0 && ip.text() == "None" {
            if ips.len() > 1 {
                good = false;
                ips.invalid("'None' must be the first and only value");
            }
            continue;
        }
        let wrong = words::ip(ip.text());
        good &= wrong.is_empty();
        wrong.iter().for_each(|why| ip.invalid_text(ip.text(), why));
    }
    if ips.len() > MOST {
        ips.invalid("may only hold up to 2 values");
    }
    good
}

fn together(spec: &At<'_>, ips: &At<'_>) {
    let is_v4 = |ip: &At<'_>| ip.text().parse::<IpAddr>().is_ok_and(|a| a.is_ipv4());
    let families: Vec<bool> = ips.items().map(|ip| is_v4(&ip)).collect();
    if families.len() > 1 && !(families.contains(&true) && families.contains(&false)) {
        ips.invalid("may specify no more than one IP for each IP family");
    }
    if is_headless(ips.list()) {
        return;
    }
    for (n, (ip, family)) in ips.items().zip(spec.field("ipFamilies").items()).enumerate() {
        if matches!((family.text(), is_v4(&ip)), ("IPv4", false) | ("IPv6", true)) {
            ip.invalid(&format!("expected an {} value as indicated by `ipFamilies[{n}]`", family.text()));
        }
    }
}

fn is_headless(ips: &[Value]) -> bool {
    matches!(ips, [one] if one.as_str() == Some("None"))
}

/// The first of each stays as long as there is one; a second comes and goes by the policy.
pub(super) fn changes(spec: &At<'_>, old: &Object) {
    if [spec.get("type"), old.str_at(&["spec", "type"])].contains(&"ExternalName") {
        return;
    }
    let before = |key: &str| old.at(&["spec", key]).and_then(Value::as_list).unwrap_or_default();
    let headless = (is_headless(before("clusterIPs")), is_headless(spec.field("clusterIPs").list()));
    if headless != (true, true) {
        list_changes(spec, "clusterIPs", before("clusterIPs"), "clusterIP");
    }
    if headless == (false, false) {
        list_changes(spec, "ipFamilies", before("ipFamilies"), "ipFamily");
    }
}

fn list_changes(spec: &At<'_>, key: &str, before: &[Value], one: &str) {
    let now = spec.field(key);
    let changed = |n: &usize| before.get(*n) != now.list().get(*n);
    // Families are all told of at the first of them.
    let place = |n: usize| now.key(if key == "clusterIPs" { n } else { 0 });
    match before.len().cmp(&now.len()) {
        Ordering::Equal => (0..before.len()).filter(changed).for_each(|n| place(n).invalid(KEPT)),
        Ordering::Greater => {
            if now.is_empty() {
                place(0).invalid(&format!("primary {one} can not be unset"));
            } else if changed(&0) {
                place(0).invalid(KEPT);
            }
            let policy = spec.field("ipFamilyPolicy");
            if now.len() == 1 && policy.text() != "SingleStack" {
                policy.invalid(&format!("must be set to 'SingleStack' when releasing the secondary {one}"));
            }
        }
        Ordering::Less if !before.is_empty() && changed(&0) => place(0).invalid(KEPT),
        Ordering::Less => {}
    }
}
