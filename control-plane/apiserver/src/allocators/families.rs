//! Which address families a Service has, before it is validated and before addresses are given out: what the client left open
//! is filled in by what the cluster has, and what the cluster does not have is refused. Plain data; it gives out nothing.

use super::service;
use api::status::FieldReason;
use api::{FieldError, Object, Value};

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

pub(super) fn text(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}

/// The families of a Service, the first its own.
pub(super) fn of(service: &Object) -> Vec<String> {
    strings(service, "ipFamilies")
}

fn strings(service: &Object, key: &str) -> Vec<String> {
    let list = service.at(&["spec", key]).and_then(Value::as_list).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn policy(service: &Object) -> &str {
    service.str_at(&["spec", "ipFamilyPolicy"])
}

fn is_external(service: &Object) -> bool {
    service.str_at(&["spec", "type"]) == "ExternalName"
}

/// `cluster` are the families that the server has ranges of, the default first.
pub(super) fn prepare(new: &mut Object, old: Option<&Object>, cluster: &[&'static str]) -> Vec<FieldError> {
    if is_external(new) {
        return Vec::new();
    }
    let old = old.filter(|old| !is_external(old));
    let own = new.str_at(&["spec", "clusterIP"]).to_owned();
    if strings(new, "clusterIPs").is_empty() && !own.is_empty() {
        new.set(&["spec", "clusterIPs"], vec![own]);
    }
    if let Some(old) = old {
        if stays(new, old) {
            return api::kinds::service_addresses(new, Some(old));
        }
        shrink(new, old);
    }
    let wrong = api::kinds::service_addresses(new, old);
    if wrong.is_empty() { choose(new, cluster) } else { wrong }
}

/// A Service that prefers both keeps what it has when the cluster changes, until somebody changes the Service.
fn stays(new: &Object, old: &Object) -> bool {
    let same = |key| strings(new, key) == strings(old, key);
    policy(new) == PREFER && policy(old) == PREFER && same("clusterIPs") && same("ipFamilies")
}

/// Who asks for one family where there were two need not name what goes.
fn shrink(new: &mut Object, old: &Object) {
    if policy(new) != SINGLE || policy(old) == SINGLE {
        return;
    }
    for key in ["clusterIPs", "ipFamilies"] {
        let mut list = strings(new, key);
        if list.len() > 1 && list == strings(old, key) {
            list.truncate(1);
            new.set(&["spec", key], list);
        }
    }
}

fn choose(service: &mut Object, cluster: &[&'static str]) -> Vec<FieldError> {
    let selectorless = service.at(&["spec", "selector"]).and_then(Value::as_map).is_none_or(|s| s.is_empty());
    let headless_alone = service.str_at(&["spec", "clusterIP"]) == "None" && selectorless;
    if policy(service).is_empty() {
        service.set(&["spec", "ipFamilyPolicy"], if headless_alone { REQUIRE } else { SINGLE });
    }
    let mut families = of(service);
    let wrong = [mismatch(service, &families), infer(service, &mut families, cluster)].concat();
    if !wrong.is_empty() {
        return wrong;
    }
    // What nobody gives addresses to may have families that the cluster does not have.
    let wrong = if headless_alone { Vec::new() } else { unknown(service, &families, cluster) };
    if !wrong.is_empty() {
        return wrong;
    }
    if families.is_empty() {
        families.extend(cluster.first().map(|family| (*family).to_owned()));
    }
    if policy(service) != SINGLE && families.len() == 1 && (headless_alone || cluster.len() > 1) {
        families.push(text(families[0] == "IPv4").to_owned());
    }
    service.set(&["spec", "ipFamilies"], families);
    Vec::new()
}

/// More than one of something, and a policy of one.
fn mismatch(service: &Object, families: &[String]) -> Vec<FieldError> {
    let counts = [(strings(service, "clusterIPs").len(), "cluster IPs"), (families.len(), "IP families")];
    let wrong = counts.into_iter().filter(|(count, _)| policy(service) == SINGLE && *count > 1).map(|(_, what)| {
        let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
        invalid("spec.ipFamilyPolicy".into(), &service.at(&["spec", "ipFamilyPolicy"]).cloned(), &why)
    });
    wrong.collect()
}

/// The families of the addresses that were chosen without any.
fn infer(service: &Object, families: &mut Vec<String>, cluster: &[&'static str]) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    for (n, address) in service::addresses(service).into_iter().enumerate().skip(families.len()) {
        let family = text(address.is_ipv6());
        match cluster.contains(&family) {
            true => families.push(family.to_owned()),
            false => {
                let why = format!("{family} is not configured on this cluster");
                wrong.push(invalid(
                    format!("spec.clusterIPs[{n}]"),
                    &service.at(&["spec", "clusterIPs"]).cloned(),
                    &why,
                ));
            }
        }
    }
    wrong
}

fn unknown(service: &Object, families: &[String], cluster: &[&'static str]) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    if policy(service) == REQUIRE && cluster.len() < 2 {
        let policy = service.at(&["spec", "ipFamilyPolicy"]).cloned();
        wrong.push(invalid(
            "spec.ipFamilyPolicy".into(),
            &policy,
            "this cluster is not configured for dual-stack services",
        ));
    }
    for (n, family) in families.iter().enumerate().filter(|(_, family)| !cluster.contains(&family.as_str())) {
        let value = Some(Value::from(family.as_str()));
        wrong.push(invalid(format!("spec.ipFamilies[{n}]"), &value, "not configured on this cluster"));
    }
    wrong
}

pub(super) fn invalid(path: String, value: &Option<Value>, why: &str) -> FieldError {
    let shown = value.as_ref().map(api::codec::json::encode).unwrap_or_default();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    FieldError::new(FieldReason::Invalid, path, format!("Invalid value: {shown}: {why}"))
}
