//! HorizontalPodAutoscalers as autoscaling/v1 shows them: it has a field for the CPU's utilization and nothing else, so
//! the other metrics, the behaviour and the conditions stand in annotations, and come back from them.

use crate::codec::json;
use crate::schema;
use crate::value::{Map, Value};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CONDITION: &str = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerCondition";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// A source of metrics: its field, then its members in v1, each with its path in v2 (below the source).
type Source = (&'static str, &'static [(&'static str, &'static [&'static str])]);

const SPEC: &[Source] = &[
    (
        "object",
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("targetValue", &["target", "value"]),
            ("selector", &["metric", "selector"]),
            ("averageValue", &["target", "averageValue"]),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"]),
            ("targetAverageValue", &["target", "averageValue"]),
            ("selector", &["metric", "selector"]),
        ],
    ),
    (
        "resource",
        &[
            ("name", &["name"]),
            ("targetAverageUtilization", &["target", "averageUtilization"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", &["name"]),
            ("targetAverageUtilization", &["target", "averageUtilization"]),
            ("targetAverageValue", &["target", "averageValue"]),
            ("container", &["container"]),
        ],
    ),
    (
        "external",
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    ),
];

const STATUS: &[Source] = &[
    (
        "object",
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("currentValue", &["current", "value"]),
            ("selector", &["metric", "selector"]),
            ("averageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"]),
            ("currentAverageValue", &["current", "averageValue"]),
            ("selector", &["metric", "selector"]),
        ],
    ),
    (
        "resource",
        &[
            ("name", &["name"]),
            ("currentAverageUtilization", &["current", "averageUtilization"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", &["name"]),
            ("currentAverageUtilization", &["current", "averageUtilization"]),
            ("currentAverageValue", &["current", "averageValue"]),
            ("container", &["container"]),
        ],
    ),
    (
        "external",
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
];

/// The utilization of the processor that an autoscaler aims at where it is told nothing.
const DEFAULT_PERCENT: i64 = 80;

/// Members of the annotation of the behaviour, which upstream writes in the names of an inner type, and their fields.
const DIRECTIONS: [(&str, &str); 2] = [("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown")];
const RULES: [(&str, &str); 4] = [
    ("StabilizationWindowSeconds", "stabilizationWindowSeconds"),
    ("SelectPolicy", "selectPolicy"),
    ("Policies", "policies"),
    ("Tolerance", "tolerance"),
];
const POLICY: [(&str, &str); 3] = [("Type", "type"), ("Value", "value"), ("PeriodSeconds", "periodSeconds")];

/// From autoscaling/v2, in which autoscalers are stored.
pub(super) fn to_v1(map: &mut Map) {
    let mut notes: Vec<(&str, String)> = Vec::new();
    if let Some(spec) = map.get_mut("spec").and_then(Value::as_map_mut) {
        let metrics = taken(spec, "metrics");
        let (cpu, others): (Vec<&Value>, Vec<&Value>) =
            metrics.iter().partition(|m| utilization(m, "target").is_some());
        if let Some(percent) = cpu.first().and_then(|m| utilization(m, "target")) {
            spec.insert("targetCPUUtilizationPercentage", percent.clone());
        }
        if !others.is_empty() {
            notes.push((METRICS, listed(others, SPEC)));
        }
        if let Some(behavior) = spec.remove("behavior") {
            notes.push((BEHAVIOR, behavior_note(&behavior)));
        }
    }
    if let Some(status) = map.get_mut("status").and_then(Value::as_map_mut) {
        let metrics = taken(status, "currentMetrics");
        if let Some(percent) = metrics.iter().find_map(|m| utilization(m, "current")) {
            status.insert("currentCPUUtilizationPercentage", percent.clone());
        }
        if !metrics.is_empty() {
            notes.push((CURRENT_METRICS, listed(metrics.iter().collect(), STATUS)));
        }
        let conditions = taken(status, "conditions");
        if !conditions.is_empty() {
            notes.push((CONDITIONS, schema::ordered(Some(&Value::from(conditions)), schema::find(CONDITION))));
        }
    }
    if let Some(annotations) = annotations(map, !notes.is_empty()) {
        [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].iter().for_each(|key| drop(annotations.remove(key)));
        notes.into_iter().for_each(|(key, note)| drop(annotations.insert(key, note)));
    }
}

/// Back into autoscaling/v2. An annotation that can't be read says nothing.
pub(super) fn from_v1(map: &mut Map) {
    let [metrics, current, conditions, behavior] =
        [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].map(|key| note(map, key));
    if let Some(spec) = map.get_mut("spec").and_then(Value::as_map_mut) {
        let mut all = read(metrics, SPEC, "target");
        let percent = spec.remove("targetCPUUtilizationPercentage");
        all.extend(percent.map(|p| cpu("target", p)));
        if all.is_empty() {
            // As upstream, whose autoscalers look at the processor where they are told nothing.
            all.push(cpu("target", DEFAULT_PERCENT.into()));
        }
        spec.insert("metrics", all);
        if let Some(behavior) = behavior {
            spec.insert("behavior", named(&behavior, &DIRECTIONS, |rules| named(rules, &RULES, policies)));
        }
    }
    if let Some(status) = map.get_mut("status").and_then(Value::as_map_mut) {
        let mut all = read(current, STATUS, "current");
        let percent = status.remove("currentCPUUtilizationPercentage");
        if all.is_empty() {
            all.extend(percent.map(|p| cpu("current", p)));
        }
        // Nothing shows otherwise there.
        status.insert("currentMetrics", if all.is_empty() { Value::Null } else { Value::from(all) });
        if status.get("currentReplicas") == Some(&Value::Int(0)) {
            status.remove("currentReplicas");
        }
        if let Some(conditions) = conditions {
            status.insert("conditions", conditions);
        }
    }
}

fn taken(map: &mut Map, key: &str) -> Vec<Value> {
    map.remove(key).and_then(|v| v.as_list().map(<[Value]>::to_vec)).unwrap_or_default()
}

/// The percentage of the CPU in a metric that is about nothing else.
fn utilization<'a>(metric: &'a Value, key: &str) -> Option<&'a Value> {
    let cpu = metric.at(&["resource", "name"]).and_then(Value::as_str) == Some("cpu");
    metric.at(&["resource", key, "averageUtilization"]).filter(|v| cpu && !v.is_null())
}

fn cpu(key: &str, percent: Value) -> Value {
    let mut target = Map::new();
    if key == "target" {
        target.insert("type", "Utilization");
    }
    target.insert("averageUtilization", percent);
    if key == "current" {
        target.insert("averageValue", "0");
    }
    let (mut metric, mut resource) = (Map::new(), Map::new());
    resource.insert("name", "cpu");
    resource.insert(key, target);
    metric.insert("type", "Resource");
    metric.insert("resource", resource);
    Value::Map(metric)
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&json::encode(value)).into_owned()
}

/// JSON with its members in this order.
fn object(members: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let members: Vec<String> = members.into_iter().map(|(key, text)| format!("{key:?}:{text}")).collect();
    format!("{{{}}}", members.join(","))
}

fn listed(metrics: Vec<&Value>, sources: &[Source]) -> String {
    let metrics: Vec<String> = metrics.into_iter().map(|m| metric_note(m, sources)).collect();
    format!("[{}]", metrics.join(","))
}

fn metric_note(metric: &Value, sources: &[Source]) -> String {
    let kind = metric.get("type").map(|t| ("type", text(t)));
    let source = sources.iter().filter_map(|(name, members)| {
        let from = metric.get(name).filter(|v| !v.is_null())?;
        let members = members.iter().filter_map(|(member, path)| {
            let value = from.at(path).filter(|v| !v.is_null())?;
            Some((*member, text(value)))
        });
        Some((*name, object(members)))
    });
    object(kind.into_iter().chain(source))
}

fn behavior_note(behavior: &Value) -> String {
    let null = || "null".to_owned();
    let policy = |p: &Value| object(POLICY.map(|(to, from)| (to, p.get(from).map_or_else(null, text))));
    let rules = |rules: &Value| {
        object(RULES.map(|(to, from)| {
            let value = rules.get(from).filter(|v| !v.is_null());
            let shown = match value.and_then(Value::as_list) {
                Some(list) => format!("[{}]", list.iter().map(policy).collect::<Vec<_>>().join(",")),
                None => value.map_or_else(null, text),
            };
            (to, shown)
        }))
    };
    object(DIRECTIONS.map(|(to, from)| (to, behavior.get(from).filter(|v| !v.is_null()).map_or_else(null, rules))))
}

fn annotations(map: &mut Map, make: bool) -> Option<&mut Map> {
    let metadata = map.get_mut("metadata")?.as_map_mut()?;
    match make {
        true => Some(metadata.entry("annotations").make_map()),
        false => metadata.get_mut("annotations")?.as_map_mut(),
    }
}

/// Takes an annotation of ours away; what it said.
fn note(map: &mut Map, key: &str) -> Option<Value> {
    let annotations = annotations(map, false)?;
    let text = annotations.remove(key)?;
    let none_left = annotations.is_empty();
    if none_left && let Some(metadata) = map.get_mut("metadata").and_then(Value::as_map_mut) {
        metadata.remove("annotations");
    }
    Some(json::decode(text.as_str()?.as_bytes()).ok()?.value)
}

fn read(note: Option<Value>, sources: &[Source], key: &str) -> Vec<Value> {
    let list = note.as_ref().and_then(Value::as_list).unwrap_or(&[]);
    list.iter().map(|metric| metric_read(metric, sources, key)).collect()
}

fn metric_read(metric: &Value, sources: &[Source], key: &str) -> Value {
    let mut out = Map::new();
    if let Some(kind) = metric.get("type") {
        out.insert("type", kind.clone());
    }
    for (name, members) in sources {
        let Some(from) = metric.get(name).filter(|v| !v.is_null()) else { continue };
        let mut source = Map::new();
        for (member, path) in *members {
            let Some(value) = from.get(member).filter(|v| !v.is_null()) else { continue };
            put(&mut source, path, value.clone());
        }
        if key == "target" {
            let sort = sort(&source);
            put(&mut source, &["target", "type"], sort.into());
        }
        out.insert(*name, source);
    }
    Value::Map(out)
}

/// What a target aims at, which v1 does not say.
fn sort(source: &Map) -> &'static str {
    let has = |key| source.get("target").and_then(|t| t.get(key)).is_some();
    match () {
        () if has("averageUtilization") => "Utilization",
        () if has("averageValue") => "AverageValue",
        () => "Value",
    }
}

fn put(map: &mut Map, path: &[&'static str], value: Value) {
    match path {
        [] => {}
        [last] => drop(map.insert(*last, value)),
        [first, rest @ ..] => put(map.entry(first).make_map(), rest, value),
    }
}

/// The members of an inner type under the API's names. Absent ones stay absent.
fn named(from: &Value, names: &[(&str, &'static str)], of: impl Fn(&Value) -> Value) -> Value {
    let mut out = Map::new();
    for (inner, name) in names {
        if let Some(value) = from.get(inner).filter(|v| !v.is_null()) {
            out.insert(*name, of(value));
        }
    }
    Value::Map(out)
}

fn policies(value: &Value) -> Value {
    match value.as_list() {
        Some(list) => Value::from(list.iter().map(|p| named(p, &POLICY, Value::clone)).collect::<Vec<_>>()),
        None => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = r#"{"metadata":{"annotations":{"own":"stays"},"name":"x"},"spec":{"behavior":{"scaleDown":{"policies":[{"periodSeconds":15,"type":"Percent","value":100}],"selectPolicy":"Disabled"}},"maxReplicas":3,"metrics":[{"resource":{"name":"memory","target":{"averageValue":"1Gi","type":"AverageValue"}},"type":"Resource"},{"external":{"metric":{"name":"q","selector":{"matchLabels":{"a":"b"}}},"target":{"type":"Value","value":"3"}},"type":"External"},{"object":{"describedObject":{"kind":"Service","name":"s"},"metric":{"name":"hits"},"target":{"type":"Value","value":"10"}},"type":"Object"},{"resource":{"name":"cpu","target":{"averageUtilization":70,"type":"Utilization"}},"type":"Resource"}]},"status":{"conditions":[{"status":"True","type":"AbleToScale"}],"currentMetrics":[{"resource":{"current":{"averageUtilization":40,"averageValue":"80m"},"name":"cpu"},"type":"Resource"}]}}"#;

    fn map(text: &str) -> Map {
        json::decode(text.as_bytes()).expect("JSON").value.as_map().expect("an object").clone()
    }

    #[test]
    fn v1_keeps_what_it_has_no_field_for() {
        let mut there = map(V2);
        to_v1(&mut there);
        let shown = Value::Map(there.clone());
        let percent = |part, key| shown.at(&[part, key]).and_then(Value::as_i64);
        assert_eq!(percent("spec", "targetCPUUtilizationPercentage"), Some(70));
        assert_eq!(percent("status", "currentCPUUtilizationPercentage"), Some(40));
        let note = |key| shown.at(&["metadata", "annotations", key]).and_then(Value::as_str).unwrap_or("");
        assert_eq!(
            note(METRICS),
            r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}},{"type":"External","external":{"metricName":"q","metricSelector":{"matchLabels":{"a":"b"}},"targetValue":"3"}},{"type":"Object","object":{"target":{"kind":"Service","name":"s"},"metricName":"hits","targetValue":"10"}}]"#
        );
        assert_eq!(
            note(BEHAVIOR),
            r#"{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Disabled","Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":null}}"#
        );
        from_v1(&mut there);
        assert_eq!(text(&Value::Map(there)), V2);
    }

    #[test]
    fn broken_annotations_say_nothing() {
        let mut there = map(
            r#"{"metadata":{"annotations":{"autoscaling.alpha.kubernetes.io/metrics":"[{"}},"spec":{"targetCPUUtilizationPercentage":5}}"#,
        );
        from_v1(&mut there);
        assert_eq!(
            text(&Value::Map(there)),
            r#"{"metadata":{},"spec":{"metrics":[{"resource":{"name":"cpu","target":{"averageUtilization":5,"type":"Utilization"}},"type":"Resource"}]}}"#
        );
    }
}
