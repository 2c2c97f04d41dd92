//! What a scheduler of one name goes by: its plugins with their weights, and their arguments.

use k8s_openapi::api::core::v1::{NodeAffinity, TopologySpreadConstraint};

use crate::plugins::{ALL, Plugin};

/// The scheduler of pods that name none.
pub const DEFAULT_NAME: &str = "default-scheduler";

#[derive(Debug, Clone)]
pub struct Profile {
    /// It schedules the pods that name it.
    pub scheduler_name: String,
    pub filters: Vec<&'static dyn Plugin>,
    pub scores: Vec<(&'static dyn Plugin, i64)>,
    /// Whether pods of lower priority may end for a pod.
    pub preempts: bool,
    /// How many nodes of a hundred are worth finding fit ones among; 0 leaves it to the number of nodes.
    pub percentage_of_nodes: u32,
    pub args: Args,
}

/// The arguments of all plugins, with upstream's defaults.
#[derive(Debug, Clone)]
pub struct Args {
    pub fit: Strategy,
    /// Resources that are not looked at: by name, and by what stands before the slash.
    pub ignored_resources: Vec<String>,
    pub ignored_groups: Vec<String>,
    /// Resources that are to be used to like shares.
    pub balanced: Vec<String>,
    pub spread: Defaults,
    /// What every pod of the profile asks of nodes besides its own affinity.
    pub added_affinity: Option<NodeAffinity>,
    /// What a placed pod's required affinity to the new one counts in the score.
    pub hard_affinity_weight: i64,
    pub ignore_preferences_of_placed: bool,
    /// Nodes with victims to compare: a share of all in percent, and at least so many.
    pub candidates_percentage: usize,
    pub candidates_least: usize,
}

/// How nodes are compared by their resources.
#[derive(Debug, Clone)]
pub struct Strategy {
    pub shape: Shape,
    /// With their weights.
    pub resources: Vec<(String, i64)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    LeastAllocated,
    MostAllocated,
    /// Points of utilization (percent) and score (0 to 100), ascending.
    Ratio(Vec<(i64, i64)>),
}

/// How pods spread that do not say how.
#[derive(Debug, Clone)]
pub enum Defaults {
    /// Over zones and nodes where it can be had, as upstream without configuration.
    System,
    List(Vec<TopologySpreadConstraint>),
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            scheduler_name: DEFAULT_NAME.to_owned(),
            filters: ALL.iter().copied().filter(|plugin| plugin.filters()).collect(),
            scores: ALL.iter().filter_map(|plugin| Some((*plugin, plugin.weight()?))).collect(),
            preempts: true,
            percentage_of_nodes: 0,
            args: Args::default(),
        }
    }
}

impl Default for Args {
    fn default() -> Args {
        let resources = vec![("cpu".to_owned(), 1), ("memory".to_owned(), 1)];
        Args {
            fit: Strategy { shape: Shape::LeastAllocated, resources },
            ignored_resources: vec![],
            ignored_groups: vec![],
            balanced: vec!["cpu".to_owned(), "memory".to_owned()],
            spread: Defaults::System,
            added_affinity: None,
            hard_affinity_weight: 1,
            ignore_preferences_of_placed: false,
            candidates_percentage: 10,
            candidates_least: 100,
        }
    }
}
