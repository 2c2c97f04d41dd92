//! Which kinds the apiserver serves, read from its discovery documents.

use std::sync::Arc;
use std::time::Duration;

use client::{Controller, Informers, Read, View};
use kube::core::ApiResource;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// How often new kinds are looked for, as upstream.
const DISCOVERY: Duration = Duration::from_secs(30);
/// After a failed look.
const DISCOVERY_RETRY: Duration = Duration::from_secs(2);

/// A kind of objects that can be listed and deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Served {
    pub resource: ApiResource,
    pub namespaced: bool,
    pub watchable: bool,
}

impl Served {
    pub(crate) fn of(api_version: &str, kind: &str, plural: &str, namespaced: bool) -> Served {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Served { resource, namespaced, watchable: true }
    }
}

/// Runs a controller of the kinds that are served at the time, and another when they are others.
pub(crate) async fn follow(
    name: &'static str,
    client: kube::Client,
    informers: Arc<Informers>,
    stop: CancellationToken,
    config: crate::Config,
    of: impl Fn(Vec<Served>) -> Arc<dyn Controller>,
) {
    let mut running: Option<(Vec<Served>, CancellationToken)> = None;
    while !stop.is_cancelled() {
        let wait = match discover(name, &client, &stop).await {
            Ok(kinds) if running.as_ref().is_some_and(|(known, _)| *known == kinds) => DISCOVERY,
            Ok(kinds) => {
                if let Some((known, ended)) = running.take() {
                    ended.cancel();
                    let gone = known.iter().filter(|kind| !kinds.contains(kind));
                    gone.for_each(|kind| informers.forget_metadata(&kind.resource));
                }
                let ended = stop.child_token();
                let driver = config.driver(of(kinds.clone()), client.clone(), &ended);
                let (shared, token) = (informers.clone(), ended.clone());
                tokio::spawn(async move { driver.run(&shared, token).await });
                running = Some((kinds, ended));
                DISCOVERY
            }
            Err(error) => {
                tracing::info!(controller = name, "{error}");
                DISCOVERY_RETRY
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
}

/// Every deletable kind, in order.
async fn discover(
    name: &'static str,
    client: &kube::Client,
    stop: &CancellationToken,
) -> Result<Vec<Served>, client::execute::Failure> {
    let recorder = client::Recorder::start(client.clone(), name, stop.child_token());
    let executor = client::Executor::new(client.clone(), recorder);
    let mut view = View::default();
    loop {
        match deletable(&view) {
            Ok(mut kinds) => {
                kinds.sort_by(|a, b| {
                    (&a.resource.group, &a.resource.plural).cmp(&(&b.resource.group, &b.resource.plural))
                });
                return Ok(kinds);
            }
            Err(reads) => {
                let mut answers = view.into_answers();
                executor.read(&reads, &mut answers).await?;
                view = View::default().with_answers(answers);
            }
        }
    }
}

/// Every deletable kind at its group's first version that is served here, or the reads that are still needed.
pub(crate) fn deletable(view: &View) -> Result<Vec<Served>, Vec<Read>> {
    let first = ["/api/v1", "/apis", "/apis/apiregistration.k8s.io/v1/apiservices"].map(Read::path);
    let [Some(core), Some(groups), Some(services)] = first.each_ref().map(|read| view.answer(read)) else {
        return Err(first.into());
    };
    // What another server would answer for has no objects here.
    let services = services.and_then(|list| list["items"].as_array()).into_iter().flatten();
    let others = services.map(|service| &service["spec"]).filter(|spec| !spec["service"].is_null());
    let others: Vec<_> = others.map(|spec| (&spec["group"], &spec["version"])).collect();
    let groups = groups.and_then(|answer| answer["groups"].as_array()).into_iter().flatten();
    let served = groups.filter_map(|group| {
        let mut versions = group["versions"].as_array()?.iter();
        let first = versions.find(|version| !others.contains(&(&group["name"], &version["version"])))?;
        first["groupVersion"].as_str()
    });
    let reads: Vec<Read> = served.map(|version| Read::path(format!("/apis/{version}"))).collect();
    let missing: Vec<Read> = reads.iter().filter(|read| view.answer(read).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let lists = core.into_iter().chain(reads.iter().filter_map(|read| view.answer(read).flatten()));
    Ok(lists.flat_map(kinds).collect())
}

fn kinds(list: &Value) -> Vec<Served> {
    let api_version = list["groupVersion"].as_str().unwrap_or("v1");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let served = |entry: &Value| {
        let plural = entry["name"].as_str()?;
        let can = |verb: &str| entry["verbs"].as_array().is_some_and(|verbs| verbs.iter().any(|known| known == verb));
        if plural.contains('/') || !can("list") || !can("delete") {
            return None;
        }
        Some(Served {
            resource: ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: api_version.to_owned(),
                kind: entry["kind"].as_str()?.to_owned(),
                plural: plural.to_owned(),
            },
            namespaced: entry["namespaced"].as_bool().unwrap_or(false),
            watchable: can("watch"),
        })
    };
    list["resources"].as_array().into_iter().flatten().filter_map(served).collect()
}
