//! What a scheduler of one name goes by: its plugins with their weights, and their arguments.

use k8s_openapi::api::core::v1::{NodeAffinity, TopologySpreadConstraint};

use crate::framework::Point;
use crate::plugins::{ALL, PrioritySort, Registered};

/// The scheduler of pods that name none.
pub const DEFAULT_NAME: &str = "default-scheduler";

#[derive(Debug, Clone)]
pub struct Profile {
    /// It schedules the pods that name it.
    pub scheduler_name: String,
    /// Plugins in the order in which they are asked, by point.
    pub pre_enqueue: Vec<Registered>,
    /// The same in every profile: there is one queue.
    pub queue_sort: Registered,
    pub filters: Vec<Registered>,
    pub post_filters: Vec<Registered>,
    /// With the weights of their scores.
    pub scores: Vec<(Registered, i64)>,
    pub reserve: Vec<Registered>,
    pub permit: Vec<Registered>,
    pub pre_bind: Vec<Registered>,
    pub bind: Vec<Registered>,
    pub post_bind: Vec<Registered>,
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
        let at = |point: Point| ALL.iter().copied().filter(move |plugin| plugin.is_at(point));
        Profile {
            scheduler_name: DEFAULT_NAME.to_owned(),
            pre_enqueue: at(Point::PreEnqueue).collect(),
            queue_sort: &PrioritySort,
            filters: at(Point::Filter).collect(),
            post_filters: at(Point::PostFilter).collect(),
            scores: at(Point::Score).map(|plugin| (plugin, plugin.weight())).collect(),
            reserve: at(Point::Reserve).collect(),
            permit: at(Point::Permit).collect(),
            pre_bind: at(Point::PreBind).collect(),
            bind: at(Point::Bind).collect(),
            post_bind: at(Point::PostBind).collect(),
            percentage_of_nodes: 0,
            args: Args::default(),
        }
    }
}

impl Profile {
    /// The plugins that may refuse a pod, each once or several times.
    pub(crate) fn refusing(&self) -> impl Iterator<Item = Registered> {
        let lists = [&self.pre_enqueue, &self.filters, &self.reserve, &self.permit, &self.pre_bind, &self.bind];
        lists.into_iter().flatten().copied()
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
