//! Every controller's cases: objects given, a key planned, and what is to be done.
//!
//! `cases/<controller>/*.yaml` hold `given`, `key` and `then`; `UPDATE_CASES=1` rewrites `then`. Each plan is also carried
//! out on the given objects and made again until nothing is left to write: it must come to rest, and at the same place if every
//! plan is cut off after its first write.

use std::path::{Path, PathBuf};

use client::plan::Answers;
use client::view::Moment;
use client::{Action, Controller, Decision, Key, Plan, Target, Watches};
use serde::Deserialize;
use serde_json::{Value, json};

/// A plan that still writes after this many rounds would write forever.
const ROUNDS: usize = 8;
/// The same where each plan is cut off after its first write.
const CUT_ROUNDS: usize = 64;

#[derive(Clone, Deserialize)]
struct Case {
    given: Vec<Value>,
    key: Key,
    #[serde(default)]
    now: Option<String>,
    /// What live reads answer, by path; a path that is not here is not there.
    #[serde(default)]
    reads: std::collections::BTreeMap<String, Value>,
    /// What the plan before left to be remembered.
    #[serde(default)]
    memory: Option<Value>,
    #[serde(default)]
    then: Value,
}

fn config() -> controllers::Config {
    controllers::Config {
        root_ca: Some("PEM".into()),
        node_ranges: vec![
            controllers::NodeRange { cluster: "10.244.0.0/16".into(), prefix: None },
            controllers::NodeRange { cluster: "fd00:10:244::/56".into(), prefix: None },
        ],
        sign: Some(controllers::Sign::by(|_, usages, seconds| Ok(format!("{} for {seconds} s", usages.join(", "))))),
        finished_pods: controllers::FinishedPods(2),
        since: "2025-12-31T23:30:00Z".parse().unwrap(),
        ..controllers::Config::default()
    }
}

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut wrong = Vec::new();
    let garbage = controllers::Garbage::of(&[
        ("v1", "Pod", "pods", true),
        ("v1", "Node", "nodes", false),
        ("apps/v1", "ReplicaSet", "replicasets", true),
        ("apps/v1", "Deployment", "deployments", true),
    ]);
    let mut all = controllers::all(&config());
    all.push(std::sync::Arc::new(garbage));
    let quotas = controllers::Quotas::of(&[("v1", "ConfigMap", "configmaps"), ("example.com/v1", "Boat", "boats")]);
    all.push(std::sync::Arc::new(quotas));
    all.extend(controllers::of_apiserver());
    for controller in all {
        let files = yaml_files(&root.join(controller.name()));
        assert!(!files.is_empty(), "{} has no cases", controller.name());
        wrong.extend(files.iter().filter_map(|file| check(controller.as_ref(), file).err()));
    }
    assert!(wrong.is_empty(), "{}\nUPDATE_CASES=1 rewrites what is expected", wrong.join("\n"));
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn check(controller: &dyn Controller, file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).unwrap();
    let case: Case = serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let now = case.now.as_deref().unwrap_or("2026-01-01T00:00:00Z").parse().unwrap();
    let moment = Moment { now, seed: 1 };
    let decision = plan(controller, &case, &case.given, moment);
    let actual = serde_json::to_value(&decision).unwrap();
    if std::env::var_os("UPDATE_CASES").is_some() {
        let kept = text.split("\nthen:").next().unwrap().trim_end();
        let rendered = serde_saphyr::to_string(&json!({"then": actual})).unwrap();
        std::fs::write(file, format!("{kept}\n{rendered}")).unwrap();
    } else if actual != case.then {
        let (expected, actual) = (serde_json::to_string_pretty(&case.then), serde_json::to_string_pretty(&actual));
        return Err(format!("{}:\nexpected {}\nplanned {}", file.display(), expected.unwrap(), actual.unwrap()));
    }
    let rest = settles(controller, case.clone(), moment, decision.clone(), usize::MAX);
    let rest = rest.map_err(|left| format!("{} never rests: {left}", file.display()))?;
    // However early each plan is cut off, as when the controller dies in it, the same is reached in the end.
    let cut = settles(controller, case, moment, decision, 1);
    let cut = cut.map_err(|left| format!("{} never rests when it is cut: {left}", file.display()))?;
    match summary(rest) == summary(cut.clone()) {
        true => Ok(()),
        false => Err(format!("{} ends elsewhere when it is cut:\n{}", file.display(), json!(summary(cut)))),
    }
}

/// What matters of objects: all but made-up names and uids, revisions and what was written when.
fn summary(objects: Vec<Value>) -> Vec<Value> {
    let mut all: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let made = object["metadata"]["uid"].as_str().is_some_and(|uid| uid.starts_with("made-"));
            let name =
                if made { object["metadata"]["generateName"].clone() } else { object["metadata"]["name"].clone() };
            let ending = !object["metadata"]["deletionTimestamp"].is_null();
            let finalizers = object["metadata"]["finalizers"].clone();
            let owners = object["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len);
            let replicas = object["spec"]["replicas"].clone();
            json!([object["kind"], name, ending, finalizers, owners, replicas])
        })
        .collect();
    all.sort_by_key(Value::to_string);
    all
}

fn plan(controller: &dyn Controller, case: &Case, objects: &[Value], moment: Moment) -> Decision {
    let mut watches = Watches::fixed(objects);
    controller.watches(&mut watches);
    let view = watches.view().with_memory(case.memory.clone().map(std::sync::Arc::new));
    let mut answers = Answers::new();
    for _ in 0..ROUNDS {
        match controller.plan(&view.with_answers(answers.clone()), &case.key, moment) {
            Decision::Need(reads) => {
                answers.extend(reads.into_iter().map(|read| {
                    let answer = case.reads.get(&read.path).cloned();
                    (read, answer)
                }));
            }
            done => return done,
        }
    }
    panic!("it asks without end")
}

/// Plans and carries out until nothing is left to write; of each plan no more than `most` writes.
fn settles(
    controller: &dyn Controller,
    mut case: Case,
    moment: Moment,
    mut decision: Decision,
    most: usize,
) -> Result<Vec<Value>, String> {
    let mut objects = case.given.clone();
    let rounds = if most == usize::MAX { ROUNDS } else { CUT_ROUNDS };
    for round in 0..rounds {
        let Decision::Do(plan_made) = &mut decision else { return Ok(objects) };
        plan_made.actions.retain(|action| !matches!(action, Action::Event(_)));
        if plan_made.actions.is_empty() {
            return Ok(objects);
        }
        // What was cut off is not remembered, as when the controller dies.
        if plan_made.actions.len() <= most {
            case.memory = plan_made.memory.take();
        }
        plan_made.actions.truncate(most);
        carry_out(&mut objects, plan_made, round);
        forget_deleted(&mut case, plan_made);
        let moment = Moment { seed: moment.seed + round as u64 + 1, ..moment };
        decision = plan(controller, &case, &objects, moment);
    }
    Err(serde_json::to_string(&decision).unwrap())
}

/// What was deleted is no longer among what live reads answer.
fn forget_deleted(case: &mut Case, plan: &Plan) {
    for action in &plan.actions {
        let Action::Delete { options, .. } = action else { continue };
        for items in case.reads.values_mut().filter_map(|answer| answer["items"].as_array_mut()) {
            items.retain(|item| item["metadata"]["uid"].as_str() != options.preconditions.uid.as_deref());
        }
    }
}

fn carry_out(objects: &mut Vec<Value>, plan: &Plan, round: usize) {
    for (n, action) in plan.actions.iter().enumerate() {
        match action {
            Action::Create { at, object } if at.subresource.is_none() => {
                let mut object = object.clone();
                object["metadata"]["uid"] = json!(format!("made-{round}-{n}"));
                object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
                objects.push(object);
            }
            Action::Update { at, object } => {
                let Some(old) = find(objects, at) else { panic!("{at:?} is not there") };
                match at.subresource {
                    Some("status" | "approval") => old["status"] = object["status"].clone(),
                    _ => {
                        let status = old["status"].take();
                        *old = object.clone();
                        if !status.is_null() {
                            old["status"] = status;
                        }
                    }
                }
            }
            Action::Patch { at, patch } => {
                let Some(old) = find(objects, at) else { panic!("{at:?} is not there") };
                let version = old["metadata"]["resourceVersion"].clone();
                merge(old, patch);
                old["metadata"]["resourceVersion"] = version;
            }
            Action::Delete { at, .. } => objects.retain(|object| !is_at(object, at)),
            Action::Create { .. } | Action::Event(_) => {}
        }
    }
}

fn find<'a>(objects: &'a mut [Value], at: &Target) -> Option<&'a mut Value> {
    objects.iter_mut().find(|object| is_at(object, at))
}

fn is_at(object: &Value, at: &Target) -> bool {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    object["kind"] == at.resource.kind.as_str()
        && object["metadata"]["name"] == at.key.name.as_str()
        && namespace == at.key.namespace
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let fields = object.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            Value::Null => drop(fields.remove(key)),
            _ => merge(fields.entry(key).or_insert(Value::Null), value),
        }
    }
}
