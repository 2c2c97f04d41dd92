//! HTTP extenders: servers that filter, score, bind or choose victims beside the plugins, in the words of
//! `k8s.io/kube-scheduler/extender/v1`.
//!
//! What they answer is weighed by the caller; nothing here knows a snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::config::AuthInfo;
use serde_json::{Map, Value, json};

use crate::config::{ExtenderConfig, Refused, refuse};

/// The largest answer: the nodes of a large cluster, whole, are some tens of megabytes.
const ANSWER_MOST: usize = 64 << 20;
/// How much of an answer that is an error is shown.
const ERROR_MOST: usize = 300;
/// What a node's score from an extender (0 to 10) counts beside one of a plugin (0 to 100).
const SCALE: i64 = 10;

#[derive(Clone)]
pub(crate) struct Extender {
    told: Arc<ExtenderConfig>,
    client: kube::Client,
}

/// Why an extender's answer cannot be used.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure(String);

impl Failure {
    /// Every round of asking ended without a decision.
    pub(crate) fn nobody() -> Failure {
        Failure("the extenders left no decision".to_owned())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The nodes that extenders leave, and why others do not do.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Filtered {
    pub kept: Vec<String>,
    /// The end of other pods may help.
    pub failed: BTreeMap<String, String>,
    pub unresolvable: BTreeMap<String, String>,
}

/// Victims on a node: their uids with the pods, and how many of them break a budget.
#[derive(Debug, Clone)]
pub(crate) struct Victims {
    pub pods: Vec<Arc<Pod>>,
    pub breaking: usize,
}

/// Victims as an extender leaves them, by uid.
#[derive(Debug, PartialEq)]
pub(crate) struct Chosen {
    pub uids: Vec<String>,
    pub breaking: usize,
}

impl Extender {
    /// # Errors
    /// Its certificates cannot be read.
    pub(crate) fn connect(told: &ExtenderConfig) -> Result<Extender, Refused> {
        let at = &told.url_prefix;
        let url = told.url().parse().or_else(|error| refuse(at, error))?;
        let mut config = kube::Config::new(url);
        config.default_retry = false;
        config.connect_timeout = Some(told.http_timeout);
        let tls = &told.tls;
        config.accept_invalid_certs = tls.insecure;
        config.tls_server_name = tls.server_name.clone();
        if let Some(text) = pem_of(at, tls.ca_data.as_deref(), tls.ca_file.as_deref())? {
            let all = pem::parse_many(text).or_else(|error| refuse(at, error))?;
            config.root_cert = Some(all.into_iter().map(pem::Pem::into_contents).collect());
        }
        let certificate = pem_of(at, tls.cert_data.as_deref(), tls.cert_file.as_deref())?;
        let key = pem_of(at, tls.key_data.as_deref(), tls.key_file.as_deref())?;
        config.auth_info = AuthInfo {
            client_certificate_data: certificate.map(|pem| STANDARD.encode(pem)),
            client_key_data: key.map(|pem| STANDARD.encode(pem).into()),
            ..AuthInfo::default()
        };
        let client = kube::Client::try_from(config).or_else(|error| refuse(at, error))?;
        Ok(Extender { told: Arc::new(told.clone()), client })
    }

    /// Whether the pod asks for something that this extender takes care of.
    pub(crate) fn is_interested(&self, pod: &Pod) -> bool {
        let managed = &self.told.managed_resources;
        let Some(spec) = pod.spec.as_ref().filter(|_| !managed.is_empty()) else { return managed.is_empty() };
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let resources = containers.filter_map(|container| container.resources.as_ref());
        let mut asked = resources.flat_map(|r| r.requests.iter().chain(&r.limits).flatten());
        asked.any(|(name, _)| managed.iter().any(|managed| managed.name == *name))
    }

    pub(crate) fn binds(&self) -> bool {
        self.told.bind_verb.is_some()
    }

    async fn filter(&self, pod: &Pod, nodes: &[Arc<Node>]) -> Result<Option<Filtered>, Failure> {
        let Some(verb) = &self.told.filter_verb else { return Ok(None) };
        let answer = self.ask(verb, self.about(pod, nodes)).await?;
        let Value::Object(answer) = answer else { return self.fail(verb, "the answer is no object") };
        let answer = small_letters(answer);
        if let Some(error) = answer.get("error").and_then(Value::as_str).filter(|error| !error.is_empty()) {
            return self.fail(verb, error);
        }
        let names = answer.get("nodenames").and_then(Value::as_array);
        let listed = answer.get("nodes").and_then(|nodes| nodes["items"].as_array());
        let kept = match (self.told.node_cache_capable, names, listed) {
            (true, Some(names), _) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            (_, _, Some(nodes)) => {
                nodes.iter().filter_map(|node| node["metadata"]["name"].as_str()).map(str::to_owned).collect()
            }
            _ => vec![],
        };
        let known = |name: &String| nodes.iter().any(|node| node.metadata.name.as_ref() == Some(name));
        if let Some(other) = kept.iter().find(|name| !known(name)) {
            return self.fail(verb, &format!("it answers with node {other}, which it was not asked about"));
        }
        let reasons = |key: &str| {
            let map = answer.get(key).and_then(Value::as_object).into_iter().flatten();
            map.filter_map(|(node, why)| Some((node.clone(), why.as_str()?.to_owned()))).collect()
        };
        Ok(Some(Filtered { kept, failed: reasons("failednodes"), unresolvable: reasons("failedandunresolvablenodes") }))
    }

    async fn prioritize(&self, pod: &Pod, nodes: &[Arc<Node>]) -> Result<Vec<(String, i64)>, Failure> {
        let Some(verb) = &self.told.prioritize_verb else { return Ok(vec![]) };
        let answer = self.ask(verb, self.about(pod, nodes)).await?;
        let Value::Array(scores) = answer else { return self.fail(verb, "the answer is no list") };
        let score = |score: Value| {
            let Value::Object(score) = score else { return None };
            let score = small_letters(score);
            Some((score.get("host")?.as_str()?.to_owned(), score.get("score")?.as_i64()?))
        };
        // A score outside of what is agreed on would outweigh everything else.
        let scores = scores.into_iter().filter_map(score);
        Ok(scores.map(|(host, score)| (host, score.clamp(0, 10) * self.told.weight * SCALE)).collect())
    }

    /// # Errors
    /// The extender did not bind the pod, or nobody knows.
    pub(crate) async fn bind(&self, pod: &Pod, node: &str) -> Result<(), Failure> {
        let Some(verb) = &self.told.bind_verb else { return Ok(()) };
        let meta = &pod.metadata;
        let args = json!({"PodName": meta.name, "PodNamespace": meta.namespace, "PodUID": meta.uid, "Node": node});
        let answer = match self.ask(verb, args).await? {
            Value::Object(answer) => small_letters(answer),
            _ => Map::new(),
        };
        match answer.get("error").and_then(Value::as_str).filter(|error| !error.is_empty()) {
            Some(error) => self.fail(verb, error),
            None => Ok(()),
        }
    }

    async fn preempt(&self, pod: &Pod, on: &BTreeMap<String, Victims>) -> Result<BTreeMap<String, Chosen>, Failure> {
        let Some(verb) = &self.told.preempt_verb else { return self.fail("preempt", "it has no such verb") };
        let mut args = json!({"Pod": pod});
        if self.told.node_cache_capable {
            let uids = |v: &Victims| v.pods.iter().map(|pod| json!({"UID": pod.metadata.uid})).collect::<Vec<_>>();
            let victims = |v: &Victims| json!({"Pods": uids(v), "NumPDBViolations": v.breaking});
            args["NodeNameToMetaVictims"] = on.iter().map(|(node, v)| (node.clone(), victims(v))).collect();
        } else {
            let pods = |v: &Victims| v.pods.iter().map(|pod| json!(pod)).collect::<Vec<_>>();
            let victims = |v: &Victims| json!({"Pods": pods(v), "NumPDBViolations": v.breaking});
            args["NodeNameToVictims"] = on.iter().map(|(node, v)| (node.clone(), victims(v))).collect();
        }
        let Value::Object(answer) = self.ask(verb, args).await? else {
            return self.fail(verb, "the answer is no object");
        };
        let answer = small_letters(answer);
        let nodes = answer.get("nodenametometavictims").and_then(Value::as_object).into_iter().flatten();
        Ok(nodes.map(|(node, victims)| (node.clone(), chosen(victims))).collect())
    }

    fn about(&self, pod: &Pod, nodes: &[Arc<Node>]) -> Value {
        if self.told.node_cache_capable {
            let names: Vec<&str> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
            return json!({"Pod": pod, "Nodes": null, "NodeNames": names});
        }
        let items: Vec<&Node> = nodes.iter().map(AsRef::as_ref).collect();
        json!({"Pod": pod, "Nodes": {"metadata": {}, "items": items}, "NodeNames": null})
    }

    async fn ask(&self, verb: &str, args: Value) -> Result<Value, Failure> {
        let body = serde_json::to_vec(&args).or_else(|error| self.fail(verb, &error.to_string()))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/{verb}"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(kube::client::Body::from(body));
        let request = request.or_else(|error| self.fail(verb, &error.to_string()))?;
        let asked = async {
            let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_MOST).collect().await;
            let body = body.map_err(|error| format!("reading the answer: {error}"))?.to_bytes();
            if !status.is_success() {
                let said = String::from_utf8_lossy(&body[..body.len().min(ERROR_MOST)]).into_owned();
                return Err(format!("it answers {status}: {said}"));
            }
            if body.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&body).map_err(|error| format!("reading the answer: {error}"))
        };
        match tokio::time::timeout(self.told.http_timeout, asked).await {
            Ok(answer) => answer.or_else(|error| self.fail(verb, &error)),
            Err(_) => self.fail(verb, &format!("no answer within {:?}", self.told.http_timeout)),
        }
    }

    fn fail<T>(&self, verb: &str, why: &str) -> Result<T, Failure> {
        Err(Failure(format!("extender {}/{verb}: {why}", self.told.url_prefix)))
    }
}

fn chosen(victims: &Value) -> Chosen {
    let Value::Object(victims) = victims else { return Chosen { uids: vec![], breaking: 0 } };
    let victims = small_letters(victims.clone());
    let pods = victims.get("pods").and_then(Value::as_array).into_iter().flatten();
    let uid = |pod: &Value| Some(small_letters(pod.as_object()?.clone()).get("uid")?.as_str()?.to_owned());
    let breaking = victims.get("numpdbviolations").and_then(Value::as_u64).unwrap_or(0);
    Chosen { uids: pods.filter_map(uid).collect(), breaking: usize::try_from(breaking).unwrap_or(usize::MAX) }
}

/// Go's decoder takes names in letters of any case, and so extenders write them.
fn small_letters(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect()
}

fn pem_of(at: &str, data: Option<&str>, file: Option<&str>) -> Result<Option<String>, Refused> {
    let bytes = match (data, file) {
        (Some(data), _) => STANDARD.decode(data).or_else(|error| refuse(at, error))?,
        (None, Some(file)) => std::fs::read(file).or_else(|error| refuse(at, format_args!("{file}: {error}")))?,
        (None, None) => return Ok(None),
    };
    String::from_utf8(bytes).map(Some).or_else(|error| refuse(at, error))
}

/// Asks one extender after another, each about the nodes that are left.
///
/// # Errors
/// One that may not be passed over gave no answer.
pub(crate) async fn filter(extenders: &[Extender], pod: &Pod, mut nodes: Vec<Arc<Node>>) -> Result<Filtered, Failure> {
    let mut all = Filtered::default();
    for extender in extenders {
        if nodes.is_empty() {
            break;
        }
        match extender.filter(pod, &nodes).await {
            Ok(None) => {}
            Ok(Some(filtered)) => {
                nodes.retain(|node| node.metadata.name.as_ref().is_some_and(|name| filtered.kept.contains(name)));
                all.failed.extend(filtered.failed);
                all.unresolvable.extend(filtered.unresolvable);
            }
            Err(failure) if extender.told.ignorable => tracing::warn!("passed over: {failure}"),
            Err(failure) => return Err(failure),
        }
    }
    all.failed.retain(|node, _| !all.unresolvable.contains_key(node));
    all.kept = nodes.iter().filter_map(|node| node.metadata.name.clone()).collect();
    Ok(all)
}

/// What all extenders together give each node; one that does not answer gives nothing, as upstream.
pub(crate) async fn prioritize(extenders: &[Extender], pod: &Pod, nodes: &[Arc<Node>]) -> HashMap<String, i64> {
    let mut sums: HashMap<String, i64> = HashMap::new();
    let answers = extenders.iter().map(|extender| extender.prioritize(pod, nodes));
    for answer in futures::future::join_all(answers).await {
        match answer {
            Ok(scores) => scores.into_iter().for_each(|(host, score)| *sums.entry(host).or_default() += score),
            Err(failure) => tracing::warn!("without its scores: {failure}"),
        }
    }
    sums
}

/// The nodes and victims that every extender with a say in it leaves.
///
/// # Errors
/// One that may not be passed over gave no answer.
pub(crate) async fn preempt(
    extenders: &[Extender],
    pod: &Pod,
    mut on: BTreeMap<String, Victims>,
) -> Result<BTreeMap<String, Victims>, Failure> {
    for extender in extenders.iter().filter(|extender| extender.told.preempt_verb.is_some()) {
        if on.is_empty() {
            break;
        }
        let answer = match extender.preempt(pod, &on).await {
            Ok(answer) => answer,
            Err(failure) if extender.told.ignorable => {
                tracing::warn!("passed over: {failure}");
                continue;
            }
            Err(failure) => return Err(failure),
        };
        on = answer
            .into_iter()
            .filter_map(|(node, chosen)| Some((node.clone(), left(on.get(&node)?, &chosen))))
            .collect();
    }
    Ok(on)
}

/// Of the victims, those that were chosen.
fn left(victims: &Victims, chosen: &Chosen) -> Victims {
    let is_chosen = |pod: &&Arc<Pod>| pod.metadata.uid.as_ref().is_some_and(|uid| chosen.uids.contains(uid));
    Victims { pods: victims.pods.iter().filter(is_chosen).cloned().collect(), breaking: chosen.breaking }
}

/// The time that upstream gives an extender that says nothing of it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
