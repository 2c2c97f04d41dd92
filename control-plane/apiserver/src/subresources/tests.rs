//! The pure parts of binding, eviction, scale and the streams.

use super::*;
use api::codec::json;
use http::Method;

fn object(json_text: &str) -> Object {
    let Value::Map(map) = json::decode(json_text.as_bytes()).unwrap().value else { panic!("{json_text}") };
    Object(map)
}

fn shown(object: &Object) -> String {
    String::from_utf8(json::encode(&Value::Map(object.0.clone()))).unwrap()
}

#[test]
fn a_pod_is_bound_once() {
    let to = object(r#"{"metadata":{"annotations":{"a":"b"}},"target":{"name":"n1"}}"#);
    let cases = [
        (
            r#"{"metadata":{"name":"x"},"spec":{},"status":{"nominatedNodeName":"n2"}}"#,
            Ok(
                r#"{"metadata":{"annotations":{"a":"b"},"name":"x"},"spec":{"nodeName":"n1"},"status":{"conditions":[{"lastProbeTime":null,"lastTransitionTime":"T","status":"True","type":"PodScheduled"}]}}"#,
            ),
        ),
        (r#"{"metadata":{"name":"x"},"spec":{"nodeName":"n2"}}"#, Err("pod x is already assigned to node \"n2\"")),
        (
            r#"{"metadata":{"name":"x","deletionTimestamp":"T"}}"#,
            Err("pod x is being deleted, cannot be assigned to a host"),
        ),
        (
            r#"{"metadata":{"name":"x"},"spec":{"schedulingGates":[{"name":"g"}]}}"#,
            Err("pod x has non-empty .spec.schedulingGates"),
        ),
    ];
    for (pod, expected) in cases {
        match (binding::bind(&object(pod), &to, "T"), expected) {
            (Ok(bound), Ok(expected)) => assert_eq!(shown(&bound), expected),
            (Err(status), Err(why)) => {
                assert_eq!(status.message, format!("Operation cannot be fulfilled on pods/binding \"x\": {why}"));
            }
            (got, expected) => panic!("{pod}: {got:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_budget_lets_as_many_go_as_it_says() {
    let budget = |status: &str| object(&format!(r#"{{"metadata":{{"name":"b","generation":1}},"status":{status}}}"#));
    // status, ready => what is left, "free", or why not
    let cases = [
        (r#"{"observedGeneration":1,"disruptionsAllowed":2}"#, true, "1"),
        (
            r#"{"observedGeneration":1,"disruptionsAllowed":0,"desiredHealthy":1,"currentHealthy":1}"#,
            true,
            "The disruption budget b needs 1 healthy pods and has 1 currently",
        ),
        (r#"{"observedGeneration":1,"disruptionsAllowed":0,"desiredHealthy":1,"currentHealthy":1}"#, false, "free"),
        (
            r#"{"observedGeneration":0,"disruptionsAllowed":2}"#,
            true,
            "The disruption budget b is still being processed by the server.",
        ),
    ];
    for (status, ready, expected) in cases {
        let got = match eviction::disrupt(&budget(status), "p", ready, "T") {
            Ok(Some(charged)) => charged.i64_at(&["status", "disruptionsAllowed"]).unwrap().to_string(),
            Ok(None) => "free".to_owned(),
            Err(status) => status.details.unwrap().causes[0].message.clone(),
        };
        assert_eq!(got, expected, "{status} {ready}");
    }
}

#[test]
fn a_scale_shows_replicas_and_selector() {
    let cases = [
        (
            r#"{"metadata":{"name":"x","labels":{"a":"b"}},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"a"}}},"status":{"replicas":2}}"#,
            r#"{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"x"},"spec":{"replicas":3},"status":{"replicas":2,"selector":"app=a"}}"#,
        ),
        (
            r#"{"metadata":{"name":"x"},"spec":{"replicas":0,"selector":{"app":"a","b":"c"}}}"#,
            r#"{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"x"},"spec":{},"status":{"replicas":0,"selector":"app=a,b=c"}}"#,
        ),
    ];
    for (workload, expected) in cases {
        assert_eq!(shown(&scale::scale_of(&api::Kind::PLAIN, &object(workload))), expected);
    }
}

#[test]
fn streams_go_to_the_kubelets_paths() {
    let one = r#"{"metadata":{"name":"p","namespace":"a"},"spec":{"containers":[{"name":"c"}]}}"#;
    let two = r#"{"metadata":{"name":"p","namespace":"a"},"spec":{"containers":[{"name":"c"},{"name":"d"}],"initContainers":[{"name":"i"}]}}"#;
    let cases = [
        (
            one,
            "exec?command=ls&command=-l&stdin=true&stdout=1&tty=false",
            Ok("/exec/a/p/c?input=1&output=1&command=ls&command=-l"),
        ),
        (one, "attach?stdout=true", Ok("/attach/a/p/c?output=1")),
        (two, "exec?container=i&command=a%20b", Ok("/exec/a/p/i?command=a+b")),
        (
            two,
            "exec?command=x",
            Err(
                "a container name must be specified for pod p, choose one of: [c d] or one of the init containers: [i]",
            ),
        ),
        (one, "exec?container=z", Err("container z is not valid for pod p")),
        (one, "portforward", Ok("/portForward/a/p")),
        (one, "portforward?ports=80", Ok("/portForward/a/p?port=80")),
    ];
    for (pod, request, expected) in cases {
        let (subresource, query) = request.split_once('?').unwrap_or((request, ""));
        let path = format!("/api/v1/namespaces/a/pods/p/{subresource}");
        let info = RequestInfo::parse(&Method::POST, &path, query);
        assert!(serves(&info), "{request}");
        let got = streams::path(&info, &object(pod)).map_err(|s| s.message);
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{request}");
    }
}

#[test]
fn only_what_is_answered_here_is_taken() {
    let cases = [
        ("POST /api/v1/namespaces/a/pods/p/binding", true),
        ("POST /api/v1/namespaces/a/bindings", true),
        ("GET /api/v1/namespaces/a/pods/p/binding", false),
        ("PUT /apis/apps/v1/namespaces/a/deployments/d/scale", true),
        ("POST /apis/apps/v1/namespaces/a/deployments/d/scale", false),
        ("GET /apis/apps/v1/namespaces/a/daemonsets/d/scale", false),
        ("PUT /api/v1/namespaces/a/pods/p/status", false),
        ("DELETE /api/v1/nodes/n/proxy/x", true),
        ("GET /openid/v1/jwks", true),
        ("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", true),
        ("GET /apis/authorization.k8s.io/v1/subjectaccessreviews", false),
    ];
    for (request, taken) in cases {
        let (method, path) = request.split_once(' ').unwrap();
        assert_eq!(serves(&RequestInfo::parse(&method.parse::<Method>().unwrap(), path, "")), taken, "{request}");
    }
}

#[test]
fn an_evicted_pod_says_so_once() {
    let pod = object(r#"{"metadata":{"name":"p"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#);
    let marked = eviction::mark(&eviction::mark(&pod, "S"), "T");
    let expected = r#"{"metadata":{"name":"p"},"status":{"conditions":[{"status":"True","type":"Ready"},{"lastProbeTime":null,"lastTransitionTime":"T","message":"Eviction API: evicting","reason":"EvictionByEvictionAPI","status":"True","type":"DisruptionTarget"}]}}"#;
    assert_eq!(shown(&marked), expected);
}
