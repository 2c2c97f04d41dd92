//! Objects and what they use, as `resource object => name=amount ...`; scopes and what is left unsaid.

use super::*;

fn object(text: &str) -> Object {
    let value = crate::codec::yaml::decode(text.as_bytes()).unwrap().value;
    Object(value.as_map().cloned().unwrap())
}

fn shown(group: &str, resource: &str, text: &str) -> String {
    let usage = usage(group, resource, &object(text));
    usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn objects_use_what_they_say() {
    let cases = [
        ("", "configmaps", "{}", "configmaps=1 count/configmaps=1"),
        ("apps", "deployments", "{}", "count/deployments.apps=1"),
        (
            "",
            "services",
            "{spec: {type: NodePort, ports: [{port: 1}, {port: 2}]}}",
            "count/services=1 services=1 services.loadbalancers=0 services.nodeports=2",
        ),
        (
            "",
            "services",
            "{spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 1, nodePort: 30001}, {port: 2}]}}",
            "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1",
        ),
        (
            "",
            "persistentvolumeclaims",
            "{spec: {storageClassName: fast, resources: {requests: {storage: 2Gi}}}, status: {allocatedResources: {storage: 3Gi}}}",
            "count/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
             fast.storageclass.storage.k8s.io/requests.storage=3Gi persistentvolumeclaims=1 requests.storage=3Gi",
        ),
        (
            "resource.k8s.io",
            "resourceclaims",
            "{spec: {devices: {requests: [{exactly: {deviceClassName: gpu, count: 2}}, {exactly: {deviceClassName: gpu, allocationMode: All}}, \
             {firstAvailable: [{deviceClassName: big, count: 1}, {deviceClassName: big, count: 3}, {deviceClassName: small}]}]}}}",
            "big.deviceclass.resource.k8s.io/devices=3 count/resourceclaims.resource.k8s.io=1 \
             gpu.deviceclass.resource.k8s.io/devices=34 small.deviceclass.resource.k8s.io/devices=1",
        ),
        (
            "",
            "pods",
            "{status: {phase: Succeeded}, spec: {containers: [{resources: {requests: {cpu: 1}}}]}}",
            "count/pods=1",
        ),
        (
            "",
            "pods",
            "{spec: {containers: [{resources: {requests: {cpu: 100m, example.com/gpu: 1}, limits: {cpu: 200m, example.com/gpu: 1}}}, \
             {resources: {requests: {cpu: 50m, hugepages-2Mi: 4Mi}}}]}}",
            "count/pods=1 cpu=150m hugepages-2Mi=4Mi limits.cpu=200m pods=1 requests.cpu=150m requests.example.com/gpu=1 \
             requests.hugepages-2Mi=4Mi",
        ),
    ];
    for (group, resource, text, expected) in cases {
        assert_eq!(shown(group, resource, text), expected, "{resource} {text}");
        let names = usage(group, resource, &object(text));
        assert!(names.keys().all(|name| is_of(name, group, resource)), "{names:?}");
    }
}

#[test]
fn a_pod_uses_the_most_it_has_at_a_time() {
    let cpu = |text: &str| amounts_of(text).get("requests.cpu").map(ToString::to_string).unwrap_or_default();
    let one = |cpu: &str| format!("{{resources: {{requests: {{cpu: {cpu}}}}}}}");
    let sidecar = "{restartPolicy: Always, resources: {requests: {cpu: 200m}}}";
    let pod = |init: &[&str], more: &str| {
        format!("{{spec: {{containers: [{}], initContainers: [{}]{more}}}}}", one("300m"), init.join(","))
    };
    assert_eq!(cpu(&pod(&[&one("1")], "")), "1", "one that runs before");
    assert_eq!(cpu(&pod(&[sidecar], "")), "500m", "one that runs beside");
    assert_eq!(cpu(&pod(&[sidecar, &one("400m")], "")), "600m", "one that runs before, with one beside it");
    assert_eq!(cpu(&pod(&[&one("400m"), sidecar], "")), "500m", "what comes later was not there yet");
    assert_eq!(cpu(&pod(&[], ", overhead: {cpu: 50m}")), "350m");
    assert_eq!(cpu(&pod(&[], ", resources: {requests: {cpu: 2}}, overhead: {cpu: 50m}")), "2050m");
}

fn amounts_of(text: &str) -> Usage {
    usage("", "pods", &object(text))
}

#[test]
fn what_a_quota_limits_every_container_says() {
    let pod = object(
        "{spec: {initContainers: [{name: i}], containers: [{name: b, resources: {requests: {cpu: 1}, limits: {memory: 1}}}, {name: a}]}}",
    );
    let asked = |names: &[&str]| unspecified(&pod, names.iter().copied()).unwrap_or_default();
    assert_eq!(asked(&["pods", "requests.storage"]), "");
    assert_eq!(
        asked(&["limits.memory", "cpu", "limits.cpu"]),
        "cpu for: a,i; limits.cpu for: a,b,i; limits.memory for: a,i"
    );
    let whole = object("{spec: {resources: {requests: {cpu: 1}}, containers: [{name: a}]}}");
    assert_eq!(unspecified(&whole, ["requests.cpu"].into_iter()), None, "the pod says it for all");
}

#[test]
fn scopes_choose_pods() {
    let quota = |spec: &str| object(&format!("{{spec: {spec}}}"));
    let selector = |operator: &str, values: &str| {
        quota(&format!(
            "{{scopeSelector: {{matchExpressions: [{{scopeName: PriorityClass, operator: {operator}, values: [{values}]}}]}}}}"
        ))
    };
    let plain = "{spec: {containers: [{name: a}]}}";
    let guaranteed = "{spec: {containers: [{name: a, resources: {limits: {cpu: 1}}}]}}";
    let ending = "{spec: {activeDeadlineSeconds: 5, containers: [{name: a}]}}";
    let high = "{spec: {priorityClassName: high, containers: [{name: a}]}}";
    let across = "{spec: {affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: a, namespaceSelector: {}}}]}}}}";
    let cases = [
        (quota("{}"), plain, true),
        (quota("{scopes: [BestEffort]}"), plain, true),
        (quota("{scopes: [BestEffort]}"), guaranteed, false),
        (quota("{scopes: [NotBestEffort]}"), guaranteed, true),
        (quota("{scopes: [Terminating]}"), ending, true),
        (quota("{scopes: [NotTerminating]}"), ending, false),
        (quota("{scopes: [Terminating, NotBestEffort]}"), ending, false),
        (quota("{scopes: [PriorityClass]}"), high, true),
        (quota("{scopes: [CrossNamespacePodAffinity]}"), across, true),
        (quota("{scopes: [CrossNamespacePodAffinity]}"), plain, false),
        (selector("In", "high, low"), high, true),
        (selector("In", "low"), high, false),
        (selector("In", "low"), plain, false),
        (selector("NotIn", "low"), plain, true),
        (selector("NotIn", "high"), high, false),
        (selector("Exists", ""), plain, false),
        (selector("DoesNotExist", ""), plain, true),
    ];
    for (quota, pod, expected) in cases {
        assert_eq!(covers(&quota, "", "pods", &object(pod)), expected, "{quota:?} {pod}");
        let scoped = !quota.0.get("spec").and_then(Value::as_map).is_some_and(crate::Map::is_empty);
        assert_eq!(covers(&quota, "", "configmaps", &object("{}")), !scoped, "{quota:?}");
    }
}

#[test]
fn a_pod_past_its_grace_is_over() {
    let pod = object("{metadata: {deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30}}");
    let at = |text: &str| is_over(&pod, text.parse().unwrap());
    assert_eq!((at("2026-01-01T00:00:30Z"), at("2026-01-01T00:00:31Z")), (false, true));
    assert!(!is_over(&object("{}"), "2026-01-01T00:00:00Z".parse().unwrap()));
}
