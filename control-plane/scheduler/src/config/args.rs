//! The arguments of plugins.

use k8s_openapi::api::core::v1::{NodeAffinity, TopologySpreadConstraint};
use serde::Deserialize;
use serde_json::Value;

use super::{Refused, read, refuse};
use crate::profile::{Args, Defaults, Shape, Strategy};

/// Scores of a shape are 0 to 10 in the file, 0 to 100 within.
const SHAPE_SCALE: i64 = 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fit {
    #[serde(default)]
    ignored_resources: Vec<String>,
    #[serde(default)]
    ignored_resource_groups: Vec<String>,
    scoring_strategy: Option<Scoring>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scoring {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    resources: Vec<Resource>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    name: String,
    #[serde(default)]
    weight: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    shape: Vec<Point>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    utilization: i64,
    score: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Balanced {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spread {
    #[serde(default)]
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Added {
    added_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InterPod {
    hard_pod_affinity_weight: Option<i64>,
    #[serde(default)]
    ignore_preferred_terms_of_existing_pods: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Preemption {
    min_candidate_nodes_percentage: Option<usize>,
    min_candidate_nodes_absolute: Option<usize>,
}

pub(super) fn apply(at: &str, plugin: &str, mut given: Value, args: &mut Args) -> Result<(), Refused> {
    if let Some(map) = given.as_object_mut() {
        let kind = map.remove("kind");
        let right = kind.as_ref().and_then(Value::as_str).is_none_or(|kind| kind == format!("{plugin}Args"));
        if !right {
            return refuse(at, format_args!("kind must be {plugin}Args"));
        }
        map.remove("apiVersion");
    }
    match plugin {
        "NodeResourcesFit" => fit(at, read(at, given)?, args),
        "NodeResourcesBalancedAllocation" => balanced(at, read(at, given)?, args),
        "PodTopologySpread" => spread(at, read(at, given)?, args),
        "NodeAffinity" => {
            args.added_affinity = read::<Added>(at, given)?.added_affinity;
            Ok(())
        }
        "InterPodAffinity" => inter_pod(at, &read(at, given)?, args),
        "DefaultPreemption" => preemption(at, &read(at, given)?, args),
        other => refuse(at, format_args!("plugin {other:?} takes no arguments")),
    }
}

fn fit(at: &str, fit: Fit, args: &mut Args) -> Result<(), Refused> {
    (args.ignored_resources, args.ignored_groups) = (fit.ignored_resources, fit.ignored_resource_groups);
    let Some(scoring) = fit.scoring_strategy else { return Ok(()) };
    let at = format!("{at}.scoringStrategy");
    let shape = match (scoring.kind.as_str(), scoring.requested_to_capacity_ratio) {
        ("LeastAllocated", None) => Shape::LeastAllocated,
        ("MostAllocated", None) => Shape::MostAllocated,
        ("RequestedToCapacityRatio", Some(ratio)) => Shape::Ratio(points(&at, &ratio)?),
        ("RequestedToCapacityRatio", None) => return refuse(&at, "requestedToCapacityRatio.shape is missing"),
        ("LeastAllocated" | "MostAllocated", Some(_)) => {
            return refuse(&at, format_args!("requestedToCapacityRatio does not go with {}", scoring.kind));
        }
        (other, _) => {
            return refuse(
                &at,
                format_args!("type {other:?} is none of LeastAllocated, MostAllocated, RequestedToCapacityRatio"),
            );
        }
    };
    let resources = match scoring.resources.is_empty() {
        true => Args::default().fit.resources,
        false => weighed(&format!("{at}.resources"), scoring.resources)?,
    };
    args.fit = Strategy { shape, resources };
    Ok(())
}

fn weighed(at: &str, resources: Vec<Resource>) -> Result<Vec<(String, i64)>, Refused> {
    let weigh = |resource: Resource| match resource.weight {
        // As upstream: no weight counts once.
        0 => Ok((resource.name, 1)),
        weight @ 1..=100 => Ok((resource.name, weight)),
        _ => refuse(at, format_args!("the weight of {} must be 1 to 100", resource.name)),
    };
    resources.into_iter().map(weigh).collect()
}

fn points(at: &str, ratio: &Ratio) -> Result<Vec<(i64, i64)>, Refused> {
    let at = format!("{at}.requestedToCapacityRatio.shape");
    let ascending = ratio.shape.windows(2).all(|pair| pair[0].utilization < pair[1].utilization);
    let within = |point: &Point| (0..=100).contains(&point.utilization) && (0..=SHAPE_SCALE).contains(&point.score);
    if ratio.shape.is_empty() || !ascending || !ratio.shape.iter().all(within) {
        return refuse(&at, "needs points of ascending utilization (0 to 100) with scores of 0 to 10");
    }
    Ok(ratio.shape.iter().map(|point| (point.utilization, point.score * SHAPE_SCALE)).collect())
}

fn balanced(at: &str, balanced: Balanced, args: &mut Args) -> Result<(), Refused> {
    if balanced.resources.iter().any(|resource| resource.weight > 1) {
        return refuse(&format!("{at}.resources"), "weights must be 1");
    }
    if !balanced.resources.is_empty() {
        args.balanced = balanced.resources.into_iter().map(|resource| resource.name).collect();
    }
    Ok(())
}

fn spread(at: &str, spread: Spread, args: &mut Args) -> Result<(), Refused> {
    let at = format!("{at}.defaultConstraints");
    let list = spread.default_constraints;
    args.spread = match spread.defaulting_type.as_deref() {
        Some("List") => Defaults::List(list),
        None | Some("System") if list.is_empty() => Defaults::System,
        None | Some("System") => return refuse(&at, "go with defaultingType List"),
        Some(other) => return refuse(&at, format_args!("defaultingType {other:?} is neither List nor System")),
    };
    let Defaults::List(list) = &args.spread else { return Ok(()) };
    for constraint in list {
        if constraint.max_skew < 1 || constraint.topology_key.is_empty() {
            return refuse(&at, "need a maxSkew of at least 1 and a topologyKey");
        }
        if !matches!(constraint.when_unsatisfiable.as_str(), "DoNotSchedule" | "ScheduleAnyway") {
            return refuse(&at, "need whenUnsatisfiable: DoNotSchedule or ScheduleAnyway");
        }
        let more = (&constraint.label_selector, &constraint.match_label_keys, constraint.min_domains);
        if !matches!(more, (None, None, None)) {
            return refuse(
                &at,
                "have no labelSelector, matchLabelKeys or minDomains: pods are chosen by what owns them",
            );
        }
    }
    Ok(())
}

fn inter_pod(at: &str, inter_pod: &InterPod, args: &mut Args) -> Result<(), Refused> {
    args.hard_affinity_weight = inter_pod.hard_pod_affinity_weight.unwrap_or(args.hard_affinity_weight);
    args.ignore_preferences_of_placed = inter_pod.ignore_preferred_terms_of_existing_pods;
    match args.hard_affinity_weight {
        0..=100 => Ok(()),
        _ => refuse(&format!("{at}.hardPodAffinityWeight"), "must be 0 to 100"),
    }
}

fn preemption(at: &str, preemption: &Preemption, args: &mut Args) -> Result<(), Refused> {
    args.candidates_percentage = preemption.min_candidate_nodes_percentage.unwrap_or(args.candidates_percentage);
    args.candidates_least = preemption.min_candidate_nodes_absolute.unwrap_or(args.candidates_least);
    if args.candidates_percentage > 100 || args.candidates_percentage == 0 && args.candidates_least == 0 {
        return refuse(at, "minCandidateNodesPercentage must be 0 to 100, and not both be 0");
    }
    Ok(())
}
