//! Which controllers run, and how: upstream's flags by upstream's names.

use std::time::Duration;

use clap::Args;
use controllers::{FinishedPods, NodeHealth};
use jiff::SignedDuration;

#[derive(Debug, Clone, Args)]
pub struct Controllers {
    /// The controllers that run: `*` for all, `foo` for that one, `-foo` for all but that one.
    #[arg(long, value_name = "LIST", default_value = "*", allow_hyphen_values = true)]
    pub controllers: controllers::Chosen,
    /// Objects that a controller works on at the same time, as deployment-controller=10,job-controller=2.
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    pub concurrent_syncs: controllers::Each<usize>,
    /// How often a controller looks at everything again although nothing changed, as deployment-controller=12h.
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    pub resync_period: controllers::Each<Duration>,
    #[command(flatten)]
    pub nodes: Nodes,
    /// Finished pods that are kept before the oldest go; 0 to keep all.
    #[arg(long, value_name = "N", default_value_t = FinishedPods::default().0, allow_hyphen_values = true)]
    pub terminated_pod_gc_threshold: i32,
}

/// When a node counts as lost, and how fast its pods leave it.
#[derive(Debug, Clone, Args)]
pub struct Nodes {
    /// How often nodes are looked at: silence is noticed that much later at most. Without this flag: at once.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub node_monitor_period: Option<Duration>,
    /// How long a node may say nothing before it counts as lost.
    #[arg(long, value_name = "TIME", default_value = "50s", value_parser = time)]
    pub node_monitor_grace_period: Duration,
    /// The same for a node that has not said anything yet.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time)]
    pub node_startup_grace_period: Duration,
    /// Nodes of a zone that lose their pods in a second.
    #[arg(long, value_name = "NUMBER", default_value_t = NodeHealth::default().eviction_rate, value_parser = rate)]
    pub node_eviction_rate: f64,
    /// The same in a large zone of which much is lost. In a smaller one no pods leave then.
    #[arg(long, value_name = "NUMBER", default_value_t = NodeHealth::default().secondary_eviction_rate, value_parser = rate)]
    pub secondary_node_eviction_rate: f64,
    /// A zone of more nodes is large.
    #[arg(long, value_name = "N", default_value_t = NodeHealth::default().large_cluster)]
    pub large_cluster_size_threshold: usize,
    /// The share of a zone's nodes that is much, and more than two.
    #[arg(long, value_name = "SHARE", default_value_t = NodeHealth::default().unhealthy_zone, value_parser = share)]
    pub unhealthy_zone_threshold: f64,
}

impl Controllers {
    /// A configuration that says what the flags say, and nothing else.
    pub fn config(&self) -> controllers::Config {
        let nodes = &self.nodes;
        controllers::Config {
            chosen: self.controllers.clone(),
            effort: controllers::Effort { workers: self.concurrent_syncs.clone(), resync: self.resync_period.clone() },
            node_health: NodeHealth {
                period: nodes.node_monitor_period,
                grace: nodes.node_monitor_grace_period,
                startup_grace: nodes.node_startup_grace_period,
                eviction_rate: nodes.node_eviction_rate,
                secondary_eviction_rate: nodes.secondary_node_eviction_rate,
                large_cluster: nodes.large_cluster_size_threshold,
                unhealthy_zone: nodes.unhealthy_zone_threshold,
            },
            finished_pods: FinishedPods(self.terminated_pod_gc_threshold),
            ..controllers::Config::default()
        }
    }
}

/// Longer is no time that anybody means.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().filter(|time| time.is_positive() && *time <= LONGEST);
    let time = time.and_then(|time| Duration::try_from(time).ok());
    time.ok_or_else(|| "a time such as 50s or 1m30s is needed, up to a day".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| "a number of nodes in a second such as 0.1 is needed".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share from 0 to 1 such as 0.55 is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn read(flags: &[&str]) -> Result<controllers::Config, String> {
        let words = ["wherry", "server"].iter().chain(flags);
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Server(server) = cli.command else { panic!("not what was asked for") };
        Ok(server.controllers.config())
    }

    #[test]
    fn without_flags_it_is_as_upstream_has_it() {
        let config = read(&[]).expect("no flags are right");
        assert_eq!((config.node_health, config.finished_pods), (NodeHealth::default(), FinishedPods::default()));
    }

    #[test]
    fn flags_say_how_nodes_are_watched() {
        let flags = [
            "--node-monitor-period=5s",
            "--node-monitor-grace-period=1m30s",
            "--node-startup-grace-period=2m",
            "--node-eviction-rate=0.5",
            "--secondary-node-eviction-rate=0",
            "--large-cluster-size-threshold=7",
            "--unhealthy-zone-threshold=0.7",
            "--terminated-pod-gc-threshold=-1",
        ];
        let config = read(&flags).expect("the flags are right");
        let expected = NodeHealth {
            period: Some(Duration::from_secs(5)),
            grace: Duration::from_secs(90),
            startup_grace: Duration::from_secs(120),
            eviction_rate: 0.5,
            secondary_eviction_rate: 0.0,
            large_cluster: 7,
            unhealthy_zone: 0.7,
        };
        assert_eq!((config.node_health, config.finished_pods), (expected, FinishedPods(-1)));
        for wrong in ["--node-monitor-grace-period=0s", "--node-eviction-rate=-1", "--unhealthy-zone-threshold=55"] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
    }
}
