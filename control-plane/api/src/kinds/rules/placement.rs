//! Where pods may go: affinity, tolerations, spread, gates.

use super::at::At;
use super::selectors::{label_name, label_selector, node_selector, node_term};
use crate::names;

pub(super) fn affinity(at: &At<'_>) {
    let node = at.field("nodeAffinity");
    let required = node.field("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is() {
        node_selector(&required);
    }
    for term in node.field("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(&term.field("weight"));
        node_term(&term.field("preference"), false);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = at.field(kind);
        pods.field("requiredDuringSchedulingIgnoredDuringExecution").items().for_each(|t| pod_term(&t));
        for term in pods.field("preferredDuringSchedulingIgnoredDuringExecution").items() {
            weight(&term.field("weight"));
            pod_term(&term.field("podAffinityTerm"));
        }
    }
}

fn weight(at: &At<'_>) {
    let weight = at.int().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        at.invalid_as(&weight.to_string(), "must be in the range 1-100");
    }
}

fn pod_term(at: &At<'_>) {
    label_selector(&at.field("labelSelector"));
    label_selector(&at.field("namespaceSelector"));
    at.field("namespaces").items().for_each(|n| n.named(at.field("namespace").path).matches(names::dns1123_label));
    for keys in ["matchLabelKeys", "mismatchLabelKeys"] {
        label_keys(at, keys);
    }
    keys_once(at);
    let key = at.field("topologyKey");
    if key.is_empty() {
        key.required("can not be empty");
    }
    label_name(&key);
}

fn label_keys(at: &At<'_>, which: &str) {
    let keys = at.field(which);
    if !keys.is_empty() && !at.field("labelSelector").is() {
        return keys.forbidden("must not be specified when labelSelector is not set");
    }
    keys.items().for_each(|k| label_name(&k));
}

/// No key stands both in the selector and among those that are added to it, or is both to match and not to.
fn keys_once(at: &At<'_>) {
    let (matching, other) = (at.field("matchLabelKeys"), at.field("mismatchLabelKeys"));
    let selector = at.field("labelSelector");
    let mut known: Vec<&str> = selector.field("matchLabels").pairs().map(|(key, _)| key).collect();
    for one in selector.field("matchExpressions").items() {
        let key = one.get("key");
        let place = matching.items().enumerate().filter(|(_, k)| k.text() == key).last();
        if let Some((i, _)) = place.filter(|_| known.contains(&key)) {
            at.key(i).invalid_text(key, "exists in both matchLabelKeys and labelSelector");
        }
        known.push(key);
    }
    for key in matching.items().filter(|k| other.items().any(|o| o.text() == k.text())) {
        key.invalid("exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

pub(super) fn tolerations(at: &At<'_>) {
    at.items().for_each(|t| toleration(&t));
}

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn toleration(at: &At<'_>) {
    let (key, operator, effect) = (at.field("key"), at.field("operator"), at.field("effect"));
    if !key.is_empty() {
        label_name(&key);
    } else if operator.text() != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        operator.invalid_text(operator.text(), why);
    }
    if at.has("tolerationSeconds") && effect.text() != "NoExecute" {
        effect.invalid_text(effect.text(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    match operator.text() {
        "" | "Equal" => {
            let value = at.get("value");
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                operator.invalid_text(value, &wrong.join(";"));
            }
        }
        "Exists" if !at.get("value").is_empty() => {
            operator.invalid_text(at.get("value"), "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        "Lt" | "Gt" => operator.unsupported(&["Equal", "Exists", "Lt", "Gt"]),
        _ => operator.unsupported(&["Equal", "Exists"]),
    }
    if !effect.text().is_empty() {
        effect.one_of(EFFECTS);
    }
}

/// The taints of a node, which stand in its metadata as far as paths go.
pub(super) fn taints(at: &At<'_>) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in at.items() {
        taint.field("key").named(format!("{}.key", taint.path)).invalid_names();
        let (value, wrong) = (taint.field("value"), names::label_value(taint.get("value")));
        if !wrong.is_empty() {
            value.invalid(&wrong.join(";"));
        }
        match taint.get("effect") {
            "" => taint.field("effect").required(""),
            _ => taint.field("effect").one_of(EFFECTS),
        }
        let this = (taint.get("key"), taint.get("effect"));
        if seen.contains(&this) {
            let shown = super::inner::inner(taint.value, crate::schema::find("io.k8s.api.core.v1.Taint"));
            taint.duplicate_as(&shown, "taints must be unique by key and effect pair");
            continue;
        }
        seen.push(this);
    }
}

impl At<'_> {
    fn invalid_names(&self) {
        names::qualified_name(self.text()).iter().for_each(|why| self.invalid_text(self.text(), why));
    }
}

pub(super) fn spread(at: &At<'_>) {
    let all: Vec<At<'_>> = at.items().collect();
    for (i, one) in all.iter().enumerate() {
        let skew = one.field("maxSkew");
        if skew.int().unwrap_or(0) <= 0 {
            skew.invalid_as(&skew.int().unwrap_or(0).to_string(), "must be greater than zero");
        }
        let key = one.field("topologyKey");
        if key.is_empty() {
            key.required("can not be empty");
        }
        let when = one.field("whenUnsatisfiable");
        when.one_of(&["DoNotSchedule", "ScheduleAnyway"]);
        let pair = |o: &At<'_>| (o.get("topologyKey").to_owned(), o.get("whenUnsatisfiable").to_owned());
        if all[i + 1..].iter().any(|other| pair(other) == pair(one)) {
            let (key, when) = pair(one);
            let place = one.field("{topologyKey, whenUnsatisfiable}");
            place.duplicate_as(&format!("{:?}", format!("{{{key}, {when}}}")), "");
        }
        min_domains(one);
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one.field(policy).maybe_one_of(&["Honor", "Ignore"]);
        }
        label_keys(one, "matchLabelKeys");
        keys_once(one);
        label_selector(&one.field("labelSelector"));
    }
}

fn min_domains(at: &At<'_>) {
    let (domains, when) = (at.field("minDomains"), at.get("whenUnsatisfiable"));
    let Some(number) = domains.int() else { return };
    if number <= 0 {
        domains.invalid("must be greater than zero");
    }
    if when != "DoNotSchedule" {
        domains.invalid(&format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"));
    }
}

pub(super) fn gates(spec: &At<'_>) {
    for gate in spec.field("readinessGates").items() {
        label_name(&gate.field("conditionType"));
    }
    let mut seen: Vec<&str> = Vec::new();
    for gate in spec.field("schedulingGates").items() {
        let name = gate.get("name");
        names::qualified_name(name).iter().for_each(|why| gate.invalid_text(name, why));
        if seen.contains(&name) {
            gate.duplicate_as(&format!("{name:?}"), "");
        }
        seen.push(name);
    }
}
