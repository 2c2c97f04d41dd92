//! Which kinds the apiserver serves, read from its discovery documents.

use client::{Read, View};
use kube::core::ApiResource;
use serde_json::Value;

/// A kind of objects that can be listed and deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Served {
    pub resource: ApiResource,
    pub namespaced: bool,
    pub watchable: bool,
}

/// Every deletable kind at its group's preferred version, or the reads that are still needed.
pub(crate) fn deletable(view: &View) -> Result<Vec<Served>, Vec<Read>> {
    let (core, groups) = (Read::path("/api/v1"), Read::path("/apis"));
    let (Some(core_answer), Some(groups_answer)) = (view.answer(&core), view.answer(&groups)) else {
        return Err(vec![core, groups]);
    };
    let groups = groups_answer.and_then(|answer| answer["groups"].as_array());
    let preferred = groups.into_iter().flatten().filter_map(|group| group["preferredVersion"]["groupVersion"].as_str());
    let reads: Vec<Read> = preferred.map(|version| Read::path(format!("/apis/{version}"))).collect();
    let missing: Vec<Read> = reads.iter().filter(|read| view.answer(read).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let lists = core_answer.into_iter().chain(reads.iter().filter_map(|read| view.answer(read).flatten()));
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
