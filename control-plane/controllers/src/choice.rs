//! Which controllers run, and how hard each works: what upstream's flags say, by upstream's names and by ours.

use std::collections::BTreeMap;
use std::time::Duration;

use client::Driver;

/// Our name of a controller, upstream's where it is another, and upstream's name of its queue.
const NAMES: [(&str, &str, &str); 33] = [
    ("apiservice-registration-controller", "", "LocalAvailabilityController"),
    ("certificatesigningrequest-approving-controller", "", "certificate-csrapproving"),
    ("certificatesigningrequest-cleaner-controller", "", "certificate-csrcleaner"),
    ("certificatesigningrequest-signing-controller", "", "certificate-csrsigning"),
    ("cluster-dns-controller", "", "cluster_dns"),
    ("clusterrole-aggregation-controller", "", "ClusterRoleAggregator"),
    ("cronjob-controller", "", "cronjob"),
    ("custom-resource-definition-controller", "", "crd_finalizer"),
    ("daemonset-controller", "", "daemonset"),
    ("deployment-controller", "", "deployment"),
    ("disruption-controller", "", "disruption"),
    ("endpoint-controller", "endpoints-controller", "endpoint"),
    ("endpointslice-controller", "", "endpoint_slice"),
    ("endpointslicemirroring-controller", "endpointslice-mirroring-controller", "endpoint_slice_mirroring"),
    ("flow-schema-status", "", "priority_and_fairness_config_queue"),
    ("generic-garbage-collector", "garbage-collector-controller", "garbage_collector_attempt_to_delete"),
    ("job-controller", "", "job"),
    ("namespace-controller", "", "namespace"),
    ("node-ipam-controller", "", "node_ipam"),
    ("node-lifecycle-controller", "", "node_lifecycle_controller"),
    ("pod-garbage-collector", "pod-garbage-collector-controller", "orphaned_pods_nodes"),
    ("pv-protection-controller", "persistentvolume-protection-controller", "pvprotection"),
    ("pvc-protection-controller", "persistentvolumeclaim-protection-controller", "pvcprotection"),
    ("replicaset-controller", "", "replicaset"),
    ("replication-controller", "replicationcontroller-controller", "replicationmanager"),
    ("resourcequota-controller", "", "resourcequota_primary"),
    ("root-ca-certificate-publisher", "root-ca-certificate-publisher-controller", "root_ca_cert_publisher"),
    ("service-account-controller", "serviceaccount-controller", "serviceaccount"),
    ("service-cidrs-controller", "service-cidr-controller", "ipaddresses"),
    ("stale-pod-disruption", "", "stale_pod_disruption"),
    ("statefulset-controller", "", "statefulset"),
    ("taint-eviction-controller", "", "noexec_taint_node"),
    ("ttl-after-finished-controller", "", "ttl_jobs_to_delete"),
];

/// The name that a controller's queue has in metrics.
pub(crate) fn queue(controller: &str) -> &str {
    NAMES.iter().find(|(ours, ..)| *ours == controller).map_or(controller, |(.., queue)| queue)
}

/// Our name of a controller that somebody names.
fn known(name: &str) -> Result<&'static str, String> {
    let found = NAMES.iter().find(|(ours, theirs, _)| *ours == name || !theirs.is_empty() && *theirs == name);
    found.map(|(ours, ..)| *ours).ok_or_else(|| format!("{name:?} is not in the list of known controllers"))
}

/// Which controllers run: `*` for all, a name for one, `-name` for all but that one. The first that says something of a
/// controller decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    all: bool,
    named: Vec<(&'static str, bool)>,
}

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen { all: true, named: Vec::new() }
    }
}

impl std::str::FromStr for Chosen {
    type Err = String;

    fn from_str(text: &str) -> Result<Chosen, String> {
        let mut chosen = Chosen { all: false, named: Vec::new() };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.strip_prefix('-') {
                _ if part == "*" => chosen.all = true,
                Some(off) => chosen.named.push((known(off)?, false)),
                None => chosen.named.push((known(part)?, true)),
            }
        }
        Ok(chosen)
    }
}

impl Chosen {
    pub(crate) fn runs(&self, controller: &str) -> bool {
        let named = self.named.iter().find(|(name, _)| *name == controller);
        named.map_or(self.all, |(_, runs)| *runs)
    }
}

/// A number for some controllers: `deployment-controller=10,job-controller=2`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Each<T>(BTreeMap<&'static str, T>);

impl<T: Each1> std::str::FromStr for Each<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Each<T>, String> {
        let one = |part: &str| {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not CONTROLLER=VALUE"))?;
            Ok((known(name)?, T::parse(value)?))
        };
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(one).collect::<Result<_, _>>().map(Each)
    }
}

/// What can be said of one controller.
pub trait Each1: Sized {
    /// # Errors
    /// What would be right.
    fn parse(text: &str) -> Result<Self, String>;
}

/// More at a time than this only waits for the same server.
const MOST_WORKERS: usize = 256;

impl Each1 for usize {
    fn parse(text: &str) -> Result<usize, String> {
        let number = text.parse().ok().filter(|number| (1..=MOST_WORKERS).contains(number));
        number.ok_or_else(|| format!("{text:?} is no number from 1 to {MOST_WORKERS}"))
    }
}

impl Each1 for Duration {
    fn parse(text: &str) -> Result<Duration, String> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let times = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => 0,
        };
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(times)).filter(|s| *s > 0);
        seconds.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is no time such as 30s, 10m or 12h"))
    }
}

/// How hard controllers work, where it is said.
#[derive(Debug, Clone, Default)]
pub struct Effort {
    /// Keys planned and carried out at the same time.
    pub workers: Each<usize>,
    /// How often everything is planned again although nothing changed.
    pub resync: Each<Duration>,
}

impl Effort {
    pub(crate) fn of(&self, controller: &str, mut driver: Driver) -> Driver {
        if let Some(workers) = self.workers.0.get(controller) {
            driver = driver.with_workers(*workers);
        }
        if let Some(period) = self.resync.0.get(controller) {
            driver = driver.with_resync(*period);
        }
        driver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_has_its_names() {
        let all = crate::all(&crate::Config::default()).into_iter().chain(crate::of_apiserver());
        let mut names: Vec<_> = all.map(|controller| controller.name()).collect();
        names.extend([crate::garbage::NAME, crate::quota::NAME]);
        names.sort_unstable();
        let known: Vec<_> = NAMES.iter().map(|(ours, ..)| *ours).collect();
        assert_eq!(names, known);
    }

    #[test]
    fn who_runs_is_said_as_upstream_says_it() {
        let runs = |text: &str, name: &str| text.parse::<Chosen>().unwrap().runs(name);
        assert!(Chosen::default().runs("job-controller"));
        assert!(runs("*", "job-controller") && !runs("", "job-controller"));
        assert!(!runs("*,-job-controller", "job-controller") && runs("*,-job-controller", "cronjob-controller"));
        assert!(runs("job-controller", "job-controller") && !runs("job-controller", "cronjob-controller"));
        assert!(runs("job-controller,-job-controller", "job-controller"), "the first decides");
        assert!(!runs("*,-endpoints-controller", "endpoint-controller"), "upstream's name");
        assert_eq!("-boats".parse::<Chosen>().unwrap_err(), "\"boats\" is not in the list of known controllers");
    }

    #[test]
    fn effort_is_said_of_each() {
        let each = "job-controller=12h, endpoints-controller=30s".parse::<Each<Duration>>().unwrap();
        assert_eq!(each.0["endpoint-controller"], Duration::from_secs(30));
        for wrong in ["job-controller", "job-controller=0", "job-controller=1000", "boats=1", "job-controller=x"] {
            assert!(wrong.parse::<Each<usize>>().is_err(), "{wrong}");
        }
        for wrong in ["job-controller=0s", "job-controller=5", "job-controller=5d"] {
            assert!(wrong.parse::<Each<Duration>>().is_err(), "{wrong}");
        }
    }
}
