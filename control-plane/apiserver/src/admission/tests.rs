//! What the plugins do to objects, from `cases.json`: each case is an object before and after, or why it is refused.

use super::*;
use api::Map;

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("").to_owned()
}

fn object(value: Option<&Value>) -> Object {
    Object(value.and_then(Value::as_map).cloned().unwrap_or_default())
}

fn others(case: &Value) -> Vec<Object> {
    let list = case.get("with").and_then(Value::as_list).unwrap_or(&[]);
    list.iter().map(|v| object(Some(v))).collect()
}

/// Runs one plugin's decision; an error is why it refuses.
fn run(plugin: &str, object: &mut Object, with: &[Object]) -> Result<(), String> {
    let first = with.first();
    let joined = |errors: Vec<String>| if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) };
    match plugin {
        "ServiceAccount" => service_account::planned(object, first.expect("an account")),
        "DefaultTolerationSeconds" => default_toleration_seconds::tolerate(object),
        "Priority" => return priority::prioritise(object, first),
        "RuntimeClass" => {
            return runtime_class::apply(object, first).and_then(|()| runtime_class::covered(object, first));
        }
        "LimitRanger" => {
            limit_ranger::fill(object, with);
            return joined(limit_ranger::violations(object, true, first.expect("a range")));
        }
        "LimitRanger claim" => return joined(limit_ranger::violations(object, false, first.expect("a range"))),
        "ResourceQuota" => {
            let usage = resource_quota::growth(&with[1], "", first.expect("a resource").kind(), object, with.get(2));
            *object = resource_quota::charge(&with[1], &usage)?.unwrap_or_default();
        }
        "PodSecurity baseline" => return pod_security::judged(pod_security::Level::Baseline, None, object),
        "PodSecurity restricted" => return pod_security::judged(pod_security::Level::Restricted, None, object),
        "PodSecurity restricted v1.8" => return pod_security::judged(pod_security::Level::Restricted, Some(8), object),
        "NodeRestriction pod" => return node_restriction::mirror(object, "n1").map_or(Ok(()), Err),
        "NodeRestriction labels" => return joined(node_restriction::restricted_labels(object, first)),
        other => panic!("no plugin {other}"),
    }
    Ok(())
}

#[test]
fn each_plugin_does_what_its_cases_say() {
    let cases = api::codec::json::decode(include_bytes!("cases.json")).unwrap().value;
    for case in cases.as_list().unwrap() {
        let name = text(case, "name");
        let mut got = object(case.get("object"));
        let outcome = run(&text(case, "plugin"), &mut got, &others(case));
        match case.get("refused") {
            Some(why) => assert_eq!(outcome.as_ref().err().map(String::as_str), why.as_str(), "{name}"),
            None => {
                assert_eq!(outcome, Ok(()), "{name}");
                let expected: Option<&Map> = case.get("after").and_then(Value::as_map);
                let shown = |m: &Map| String::from_utf8(api::codec::json::encode(&Value::Map(m.clone()))).unwrap();
                assert_eq!(shown(&got.0), shown(expected.unwrap_or(&object(case.get("object")).0)), "{name}");
            }
        }
    }
}
