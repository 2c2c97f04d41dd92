//! APIServices of what is built in: the administrator's while a server runs, put right when it starts.

use crate::clients::Api as Server;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Config};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

async fn services(kubeconfig: &Path) -> Api<APIService> {
    let options = Default::default();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a configuration");
    Api::all(Client::try_from(config).expect("a client"))
}

/// Waits until a service is there, is as wanted and has its condition.
async fn becomes(all: &Api<APIService>, name: &str, wanted: impl Fn(&APIService) -> bool) {
    let is_local = |service: &APIService| {
        let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|c| c.type_ == "Available" && c.reason.as_deref() == Some("Local"))
    };
    let seen = async {
        while !all.get_opt(name).await.expect("an answer").is_some_and(|s| wanted(&s) && is_local(&s)) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{name} is never as it should be"));
}

fn has(group: i32, version: i32) -> impl Fn(&APIService) -> bool {
    move |service| {
        let spec = service.spec.as_ref();
        spec.is_some_and(|s| s.group_priority_minimum == group && s.version_priority == version)
    }
}

#[tokio::test]
async fn what_is_built_in_comes_back_at_the_next_start() {
    // Ranges that no other cluster here takes while this one is away.
    let mut server = Server::with(&["--service-cidr", "10.186.0.0/16", "--pod-cidr", "10.187.0.0/16"]);
    let all = services(&server.kubeconfig()).await;
    becomes(&all, "v1.apps", has(17800, 15)).await;
    becomes(&all, "v2.autoscaling", has(17500, 30)).await;
    all.delete("v1.apps", &DeleteParams::default()).await.expect("deleted");
    let change = Patch::Merge(json!({"spec": {"groupPriorityMinimum": 5}}));
    all.patch("v2.autoscaling", &PatchParams::default(), &change).await.expect("changed");
    let own = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.own.example"},
        "spec": {"group": "own.example", "version": "v1", "groupPriorityMinimum": 7, "versionPriority": 8},
    });
    let own: APIService = serde_json::from_value(own).expect("an APIService");
    all.create(&Default::default(), &own).await.expect("created");
    // By when this one has its condition, the controller has seen what came before it.
    becomes(&all, "v1.own.example", has(7, 8)).await;
    assert!(all.get_opt("v1.apps").await.expect("an answer").is_none(), "it is back too early");
    becomes(&all, "v2.autoscaling", has(5, 30)).await;

    server.restart();
    let all = services(&server.kubeconfig()).await;
    becomes(&all, "v1.apps", has(17800, 15)).await;
    becomes(&all, "v2.autoscaling", has(17500, 30)).await;
    becomes(&all, "v1.own.example", has(7, 8)).await;
}
