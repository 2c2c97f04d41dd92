//! The documented examples of kube-rs: typed and dynamic objects, patches and apply, watches, kinds that are defined,
//! and a controller.

use super::Api as Server;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::{GroupVersionKind, NamespaceResourceScope};
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::controller::{Action, Config as Workers, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt, finalizer, watcher};
use kube::{Client, Config, Error, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "rust";

/// A kind of our own, as `derive(CustomResource)` would make it: that macro would be one more thing that every build of the
/// binary waits for.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
struct Foo {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: FooSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<FooStatus>,
}

#[derive(Deserialize, Serialize, Clone, Debug)]
struct FooSpec {
    info: String,
    name: String,
    #[serde(default = "one")]
    replicas: i32,
}

fn one() -> i32 {
    1
}

#[derive(Deserialize, Serialize, Clone, Debug, Default)]
struct FooStatus {
    replicas: i32,
}

impl Resource for Foo {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "Foo".into()
    }
    fn group(_: &()) -> Cow<'_, str> {
        "clux.example".into()
    }
    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural(_: &()) -> Cow<'_, str> {
        "foos".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Foo {
    fn new(name: &str, spec: FooSpec) -> Foo {
        let metadata = ObjectMeta { name: Some(name.into()), ..Default::default() };
        Foo { api_version: Foo::api_version(&()).into(), kind: Foo::kind(&()).into(), metadata, spec, status: None }
    }

    fn definition() -> CustomResourceDefinition {
        let integer = json!({"type": "integer", "format": "int32"});
        let spec = json!({
            "type": "object",
            "required": ["info", "name"],
            "properties": {
                "info": {"type": "string"},
                "name": {"type": "string", "minLength": 3},
                "replicas": {"type": "integer", "format": "int32", "default": 1},
            },
        });
        let status = json!({"type": "object", "properties": {"replicas": integer}});
        from(json!({
            "metadata": {"name": "foos.clux.example"},
            "spec": {
                "group": "clux.example",
                "scope": "Namespaced",
                "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "shortNames": ["f"]},
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                    },
                    "additionalPrinterColumns": [{"name": "Info", "type": "string", "jsonPath": ".spec.info"}],
                }],
            },
        }))
    }
}

#[test]
fn examples_of_kube_rs() {
    let server = Server::shared();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let text = std::fs::read_to_string(server.kubeconfig()).expect("a kubeconfig");
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.expect("a configuration");
        let client = Client::try_from(config).expect("a client");
        let namespace: Namespace = from(json!({"metadata": {"name": NAMESPACE}}));
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace");
        typed(client.clone()).await;
        patched(client.clone()).await;
        watched(client.clone()).await;
        reflected(client.clone()).await;
        dynamic(client.clone()).await;
        defined(client.clone()).await;
        controlled(client).await;
    });
}

fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn settings(name: &str, data: &[(&str, &str)]) -> ConfigMap {
    let data = data.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let metadata = ObjectMeta { name: Some(name.into()), ..Default::default() };
    ConfigMap { metadata, data: Some(data), ..Default::default() }
}

fn data(map: &ConfigMap) -> BTreeMap<&str, &str> {
    map.data.iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

fn refusal(result: Result<impl Sized, Error>) -> ErrorStatus {
    match result {
        Err(Error::Api(status)) => ErrorStatus { code: status.code, reason: status.reason },
        Err(other) => panic!("not an answer of the API: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[derive(Debug, PartialEq)]
struct ErrorStatus {
    code: u16,
    reason: String,
}

fn status(code: u16, reason: &str) -> ErrorStatus {
    ErrorStatus { code, reason: reason.into() }
}

/// examples/pod_api.rs: create, read, list, replace, delete.
async fn typed(client: Client) {
    let version = client.apiserver_version().await.expect("a version");
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
    let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let post = PostParams::default();
    let made = maps.create(&post, &settings("typed", &[("a", "1")])).await.expect("created");
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    assert_eq!(refusal(maps.create(&post, &settings("typed", &[])).await), status(409, "AlreadyExists"));
    assert_eq!(refusal(maps.get("nothing").await), status(404, "NotFound"));
    assert!(maps.get_opt("nothing").await.expect("an answer").is_none());
    let mut changed = made.clone();
    changed.data = settings("typed", &[("a", "2")]).data;
    let replaced = maps.replace("typed", &post, &changed).await.expect("replaced");
    assert_ne!(replaced.resource_version(), made.resource_version());
    assert_eq!(refusal(maps.replace("typed", &post, &changed).await), status(409, "Conflict"));
    let listed = maps.list(&ListParams::default().fields("metadata.name=typed")).await.expect("listed");
    assert_eq!(listed.items.iter().map(data).collect::<Vec<_>>(), [[("a", "2")].into()]);
    let metadata = maps.get_metadata("typed").await.expect("metadata");
    assert_eq!(metadata.metadata.uid, made.metadata.uid);
    let gone = maps.delete("typed", &DeleteParams::default()).await.expect("deleted");
    assert!(gone.is_right(), "an object without finalizers goes at once");
}

/// examples/configmap… and `Patch`: each kind of patch, apply with its conflicts, the scale subresource.
async fn patched(client: Client) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    maps.create(&PostParams::default(), &settings("patched", &[("a", "1"), ("b", "2")])).await.expect("created");
    let plain = PatchParams::default();
    let merge = Patch::Merge(json!({"data": {"a": null, "c": "3"}}));
    let after = maps.patch("patched", &plain, &merge).await.expect("merged");
    assert_eq!(data(&after), [("b", "2"), ("c", "3")].into());
    let strategic = Patch::Strategic(json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(maps.patch("patched", &plain, &strategic).await.expect("patched").labels()["a"], "b");
    let json_patch: Patch<ConfigMap> =
        Patch::Json(from(json!([{"op": "replace", "path": "/data/b", "value": "json"}])));
    assert_eq!(data(&maps.patch("patched", &plain, &json_patch).await.expect("patched"))["b"], "json");

    let desired = |value: &str| {
        Patch::Apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": value},
        }))
    };
    let one = PatchParams::apply("one");
    maps.patch("applied", &one, &desired("1")).await.expect("applied");
    let other = PatchParams::apply("other");
    assert_eq!(refusal(maps.patch("applied", &other, &desired("2")).await), status(409, "Conflict"));
    let after = maps.patch("applied", &other.clone().force(), &desired("2")).await.expect("taken");
    assert_eq!(data(&after)["a"], "2");
    assert!(after.managed_fields().iter().any(|m| m.manager.as_deref() == Some("other")));

    let deployments: Api<Deployment> = Api::namespaced(client, NAMESPACE);
    let deployment: Deployment = from(json!({
        "metadata": {"name": "scaled"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
            },
        },
    }));
    let made = deployments.create(&PostParams::default(), &deployment).await.expect("created");
    let mut applied = deployment.clone();
    applied.spec.as_mut().expect("a spec").min_ready_seconds = Some(3);
    let again = deployments.patch("scaled", &one.clone().force(), &Patch::Apply(&applied)).await.expect("applied");
    let ports = |d: &Deployment| d.spec.as_ref().and_then(|s| s.template.spec.clone()).expect("a spec").containers;
    assert_eq!(ports(&again)[0].ports.as_ref().map(Vec::len), Some(1), "one port stays one");
    assert_eq!(again.metadata.generation, made.metadata.generation.map(|g| g + 1));
    let scale = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let scaled = deployments.patch_scale("scaled", &plain, &scale).await.expect("scaled");
    assert_eq!(scaled.spec.and_then(|s| s.replicas), Some(4));
    let dry = DeleteParams { dry_run: true, ..DeleteParams::background() };
    deployments.delete("scaled", &dry).await.expect("deleted for show");
    deployments.delete("scaled", &DeleteParams::background()).await.expect("deleted");
}

/// examples/event_watcher.rs without the runtime: a bare watch with a selector, which turns an update into a deletion.
async fn watched(client: Client) {
    let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let since = maps.list(&ListParams::default()).await.expect("listed").metadata.resource_version.expect("a version");
    let wanted = WatchParams::default().labels("watched=yes").timeout(20);
    let mut events = maps.watch(&wanted, &since).await.expect("a watch").boxed();
    let mut map = settings("watched", &[]);
    map.labels_mut().insert("watched".into(), "yes".into());
    maps.create(&PostParams::default(), &map).await.expect("created");
    let unlabel = Patch::Merge(json!({"metadata": {"labels": {"watched": "no"}}}));
    maps.patch("watched", &PatchParams::default(), &unlabel).await.expect("patched");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match within("an event", events.try_next()).await.expect("an event").expect("more events") {
            WatchEvent::Added(o) => seen.push(("added", o.name_any())),
            WatchEvent::Deleted(o) => seen.push(("deleted", o.name_any())),
            WatchEvent::Bookmark(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [("added", "watched".to_owned()), ("deleted", "watched".to_owned())]);
}

/// examples/configmap_reflector.rs: a store that follows the API, by a list or by a streaming list.
async fn reflected(client: Client) {
    let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    for (name, config) in [
        ("listed", watcher::Config::default().page_size(1)),
        ("streamed", watcher::Config::default().streaming_lists()),
    ] {
        let (store, writer) = reflector::store();
        let follow = watcher(maps.clone(), config).reflect(writer).applied_objects();
        maps.create(&PostParams::default(), &settings(name, &[("a", "b")])).await.expect("created");
        let key = ObjectRef::<ConfigMap>::new(name).within(NAMESPACE);
        within("the store", async {
            tokio::select! {
                ended = follow.try_for_each(|_| async { Ok(()) }) => panic!("it follows no more: {ended:?}"),
                ready = store.wait_until_ready() => ready.expect("its writer is there"),
            }
        })
        .await;
        assert_eq!(data(&store.get(&key).expect("it is there"))["a"], "b");
    }
}

/// examples/dynamic_api.rs: whatever discovery says there is.
async fn dynamic(client: Client) {
    let discovery = Discovery::new(client.clone()).run_aggregated().await.expect("discovery");
    assert!(discovery.has_group("apps") && discovery.has_group(""));
    let mut kinds = 0;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let list = api.list(&ListParams::default().limit(2)).await;
            list.unwrap_or_else(|e| panic!("list {}: {e}", resource.plural));
            kinds += 1;
        }
    }
    assert!(kinds > 50, "{kinds} kinds");
    let (service, capabilities) =
        discovery.resolve_gvk(&GroupVersionKind::gvk("", "v1", "Service")).expect("services are known");
    assert_eq!(capabilities.scope, Scope::Namespaced);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &service);
    let spec = json!({"spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    let object = DynamicObject::new("dynamic", &service).data(spec);
    let made = api.create(&PostParams::default(), &object).await.expect("created");
    assert!(made.data["spec"]["clusterIP"].as_str().is_some_and(|ip| ip.starts_with("10.")), "{made:?}");
    let typed: Api<Service> = Api::namespaced(client, NAMESPACE);
    assert_eq!(typed.get("dynamic").await.expect("the same").uid(), made.uid());
}

/// examples/crd_api.rs and crd_apply.rs: a kind of our own, and its objects.
async fn defined(client: Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let apply = PatchParams::apply("crd_apply").force();
    definitions.patch("foos.clux.example", &apply, &Patch::Apply(Foo::definition())).await.expect("applied");
    let established = await_condition(definitions.clone(), "foos.clux.example", conditions::is_crd_established());
    within("the kind", established).await.expect("established");
    let foos: Api<Foo> = Api::namespaced(client, NAMESPACE);
    let spec = |info: &str, name: &str| FooSpec { info: info.into(), name: name.into(), replicas: 1 };
    let made = foos.create(&PostParams::default(), &Foo::new("baz", spec("old", "baz"))).await.expect("created");
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(
        refusal(foos.create(&PostParams::default(), &Foo::new("bad", spec("", "no"))).await),
        status(422, "Invalid")
    );
    let patch = Patch::Apply(json!({
        "apiVersion": "clux.example/v1", "kind": "Foo", "metadata": {"name": "baz"}, "spec": {"info": "new", "name": "foo"},
    }));
    let applied = foos.patch("baz", &apply, &patch).await.expect("applied");
    assert_eq!((applied.spec.info.as_str(), applied.metadata.generation), ("new", Some(2)));
    let shown = Patch::Merge(json!({"status": {"replicas": 7}, "spec": {"info": "ignored"}}));
    let shown = foos.patch_status("baz", &PatchParams::default(), &shown).await.expect("patched");
    assert_eq!((shown.status.map(|s| s.replicas), shown.spec.info.as_str()), (Some(7), "new"));
    let scale = Patch::Merge(json!({"spec": {"replicas": 5}}));
    let scale = foos.patch_scale("baz", &PatchParams::default(), &scale).await.expect("scaled");
    assert_eq!(scale.status.map(|s| s.replicas), Some(7));
    assert_eq!(foos.get("baz").await.expect("there").spec.replicas, 5);
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// examples/configmapgen_controller.rs with secret_syncer.rs: an owner, what it owns, and a finalizer.
async fn controlled(client: Client) {
    let foos: Api<Foo> = Api::namespaced(client.clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let controller = Controller::new(foos.clone(), watcher::Config::default())
        .owns(maps.clone(), watcher::Config::default())
        .with_config(Workers::default().concurrency(2))
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(1)), Arc::new(client));
    let running = tokio::spawn(controller.for_each(|_| async {}));
    let owned = |map: Option<&ConfigMap>| map.is_some_and(|m| data(m).get("info") == Some(&"new"));
    within("what the owner wants", await_condition(maps.clone(), "of-baz", owned)).await.expect("made");
    maps.delete("of-baz", &DeleteParams::default()).await.expect("deleted");
    within("it to come back", await_condition(maps.clone(), "of-baz", owned)).await.expect("made again");
    let owner = foos.get("baz").await.expect("there");
    assert_eq!(owner.finalizers(), ["clux.example/cleanup"]);
    foos.delete("baz", &DeleteParams::default()).await.expect("deleted");
    let uid = owner.uid().expect("a uid");
    let gone = conditions::is_deleted(&uid);
    within("its end", await_condition(foos, "baz", gone)).await.expect("gone");
    assert!(maps.get_opt("of-baz").await.expect("an answer").is_none(), "the finalizer has cleaned up");
    running.abort();
}

async fn reconcile(owner: Arc<Foo>, client: Arc<Client>) -> Result<Action, Wrong> {
    let client = Client::clone(&client);
    let foos: Api<Foo> = Api::namespaced(client.clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let step = |event| async move {
        match event {
            finalizer::Event::Apply(owner) => keep(&owner, &maps).await,
            finalizer::Event::Cleanup(owner) => {
                let gone = maps.delete(&format!("of-{}", owner.name_any()), &DeleteParams::default()).await;
                gone.map(|_| Action::await_change())
            }
        }
    };
    finalizer(&foos, "clux.example/cleanup", owner, step).await.map_err(|e| Wrong(e.to_string()))
}

async fn keep(owner: &Foo, maps: &Api<ConfigMap>) -> Result<Action, Error> {
    let name = format!("of-{}", owner.name_any());
    let mut map = settings(&name, &[("info", owner.spec.info.as_str())]);
    map.metadata.owner_references = Some(owner.controller_owner_ref(&()).into_iter().collect());
    maps.patch(&name, &PatchParams::apply("controller").force(), &Patch::Apply(&map)).await?;
    Ok(Action::await_change())
}
