//! KubeSchedulerConfiguration (`kubescheduler.config.k8s.io/v1`): read, checked, and made the profiles that decisions go by.
//!
//! What it asks for is done or refused with its path; nothing is quietly left out but what docs/not-honoured.md lists.

mod args;
mod extenders;
mod plugins;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::framework::WaitingPods;
use crate::metrics::Metrics;
use crate::plugins::Registered;
use crate::profile::{DEFAULT_NAME, Profile};
use crate::queue::Backoff;

pub use extenders::ExtenderConfig;

/// What the scheduler is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Each schedules the pods that name it; pods that name none of them are left alone.
    pub profiles: Vec<Profile>,
    pub backoff: Backoff,
    pub extenders: Vec<ExtenderConfig>,
    /// Whether one of several such schedulers is elected, where the configuration says it. The caller's business.
    pub leader_elect: Option<bool>,
    /// Where the scheduler counts what it does.
    pub metrics: Arc<Metrics>,
    /// Pods that wait at Permit: for plugins of the caller's own, which allow or refuse them.
    pub waiting: Arc<WaitingPods>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            profiles: vec![Profile::default()],
            backoff: Backoff::default(),
            extenders: vec![],
            leader_elect: None,
            metrics: Arc::default(),
            waiting: Arc::default(),
        }
    }
}

/// Why a configuration is refused: where, and what is wrong there.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

pub(crate) fn refuse<T>(at: &str, why: impl std::fmt::Display) -> Result<T, Refused> {
    Err(Refused(format!("{at}: {why}")))
}

fn read<T: serde::de::DeserializeOwned>(at: &str, value: Value) -> Result<T, Refused> {
    serde_json::from_value(value).or_else(|error| refuse(at, error))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    /// Decisions are taken one after another, which is what keeps them repeatable.
    #[serde(default, rename = "parallelism")]
    _parallelism: Option<u32>,
    #[serde(default)]
    leader_election: Option<LeaderElection>,
    #[serde(default)]
    client_connection: Option<Value>,
    percentage_of_nodes_to_score: Option<u32>,
    pod_initial_backoff_seconds: Option<u64>,
    pod_max_backoff_seconds: Option<u64>,
    #[serde(default)]
    profiles: Vec<ProfileFile>,
    #[serde(default)]
    extenders: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LeaderElection {
    leader_elect: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProfileFile {
    scheduler_name: Option<String>,
    percentage_of_nodes_to_score: Option<u32>,
    #[serde(default)]
    plugins: plugins::Points,
    #[serde(default)]
    plugin_config: Vec<PluginConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginConfig {
    name: String,
    #[serde(default)]
    args: Value,
}

impl Config {
    /// # Errors
    /// The text is no configuration, or asks for what is not there.
    pub fn parse(yaml: &str) -> Result<Config, Refused> {
        Config::parse_with(yaml, &[])
    }

    /// The same where plugins of the caller's own may be named, too.
    ///
    /// # Errors
    /// The text is no configuration, or asks for what is not there.
    pub fn parse_with(yaml: &str, own: &[Registered]) -> Result<Config, Refused> {
        let value: Value = serde_saphyr::from_str(yaml).or_else(|error| refuse("the configuration", error))?;
        let file: File = read("the configuration", value)?;
        file.check()?;
        let default = Backoff::default();
        let backoff = Backoff {
            first: file.pod_initial_backoff_seconds.map_or(default.first, Duration::from_secs),
            most: file.pod_max_backoff_seconds.map_or(default.most, Duration::from_secs),
        };
        if backoff.first.is_zero() || backoff.most < backoff.first {
            return refuse("podInitialBackoffSeconds", "must be at least 1 and at most podMaxBackoffSeconds");
        }
        let percentage = file.percentage_of_nodes_to_score.unwrap_or(0);
        let files = if file.profiles.is_empty() { vec![ProfileFile::default()] } else { file.profiles };
        let one = |(at, file): (usize, ProfileFile)| profile(&format!("profiles[{at}]"), file, percentage, own);
        let profiles = files.into_iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
        let names: BTreeSet<&str> = profiles.iter().map(|profile| profile.scheduler_name.as_str()).collect();
        if names.len() < profiles.len() {
            return refuse("profiles", "two have the same schedulerName");
        }
        let sort = profiles[0].queue_sort.name();
        if let Some(other) = profiles.iter().find(|profile| profile.queue_sort.name() != sort) {
            let (name, its) = (&other.scheduler_name, other.queue_sort.name());
            let why = format!("different queue sort plugins for profile {name:?}: {its:?}, first: {sort:?}");
            return refuse("profiles", why);
        }
        let extenders = extenders::read_all(file.extenders)?;
        let ignored = extenders.iter().flat_map(ExtenderConfig::resources_left_to_it);
        let ignored: Vec<String> = ignored.map(str::to_owned).collect();
        let profiles = profiles.into_iter().map(|mut profile| {
            profile.args.ignored_resources.extend(ignored.iter().cloned());
            profile
        });
        let leader_elect = file.leader_election.map(|election| election.leader_elect);
        Ok(Config { profiles: profiles.collect(), backoff, extenders, leader_elect, ..Config::default() })
    }
}

impl File {
    fn check(&self) -> Result<(), Refused> {
        let kind = (self.api_version.as_str(), self.kind.as_str());
        if kind != ("kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration") {
            return refuse(
                "the configuration",
                format_args!(
                    "is {}, {}; known is kubescheduler.config.k8s.io/v1, KubeSchedulerConfiguration",
                    kind.0, kind.1
                ),
            );
        }
        if self.client_connection.is_some() {
            return refuse("clientConnection", "is given by --kubeconfig");
        }
        Ok(())
    }
}

fn profile(at: &str, file: ProfileFile, percentage: u32, own: &[Registered]) -> Result<Profile, Refused> {
    let mut profile = Profile {
        scheduler_name: file.scheduler_name.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
        percentage_of_nodes: file.percentage_of_nodes_to_score.unwrap_or(percentage),
        ..Profile::default()
    };
    if profile.scheduler_name.is_empty() {
        return refuse(&format!("{at}.schedulerName"), "must not be empty");
    }
    if profile.percentage_of_nodes > 100 {
        return refuse(&format!("{at}.percentageOfNodesToScore"), "must be 0 to 100");
    }
    file.plugins.apply(&plugins::Reader { at: &format!("{at}.plugins"), own }, &mut profile)?;
    let mut seen = BTreeSet::new();
    for (nth, config) in file.plugin_config.into_iter().enumerate() {
        let at = format!("{at}.pluginConfig[{nth}]");
        if !seen.insert(config.name.clone()) {
            return refuse(&at, format_args!("{} is configured twice", config.name));
        }
        args::apply(&format!("{at}.args"), &config.name, config.args, &mut profile.args)?;
    }
    Ok(profile)
}
