//! Ledgers as data: every file of `allocations/` is a list of stories, one word of a pod or of the kubelet after the other.

use super::{Amounts, Ledger};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    name: String,
    capacity: Amounts,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
enum Step {
    /// A pod's manifest is seen, and what it then has.
    #[serde(rename = "ask")]
    Ask(Box<Ask>),
    #[serde(rename = "gone")]
    Gone(String),
    /// A kubelet starts with nothing but its files.
    #[serde(rename = "restart")]
    Restart(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    pod: String,
    #[serde(default)]
    priority: i32,
    /// Of its one container.
    requests: BTreeMap<String, String>,
    #[serde(default)]
    overhead: BTreeMap<String, String>,
    /// What the object's status says that it has.
    #[serde(default)]
    shown: Option<BTreeMap<String, String>>,
    has: BTreeMap<String, String>,
    #[serde(default)]
    pending: Option<String>,
    /// Others whose answers changed.
    #[serde(default)]
    woken: Vec<String>,
}

struct Player {
    root: tempfile::TempDir,
    ledger: Ledger,
    woken: BTreeMap<String, Arc<AtomicUsize>>,
    now: Timestamp,
}

impl Player {
    fn ask(&mut self, ask: &Ask) -> Result<(), String> {
        self.now += SignedDuration::from_secs(1);
        let mut pod = json!({
            "metadata": {"name": ask.pod, "uid": ask.pod},
            "spec": {
                "priority": ask.priority,
                "overhead": ask.overhead,
                "containers": [{"name": "app", "resources": {"requests": ask.requests}}],
            },
        });
        if let Some(shown) = &ask.shown {
            let status = json!({
                "name": "app", "containerID": "x://1", "image": "i", "imageID": "i", "ready": true, "restartCount": 0,
                "resources": {"requests": shown},
            });
            pod["status"] = json!({"containerStatuses": [status]});
        }
        let pod: Pod = serde_json::from_value(pod).map_err(|e| e.to_string())?;
        for count in self.woken.values() {
            count.store(0, Ordering::Relaxed);
        }
        let count = self.woken.entry(ask.pod.clone()).or_default().clone();
        let wake = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let answer = self.ledger.ask(&Arc::new(pod), self.now, wake);
        let spec = answer.pod.spec.clone().unwrap_or_default();
        let requests = spec.containers[0].resources.clone().and_then(|r| r.requests).unwrap_or_default();
        let has: BTreeMap<String, String> = requests.into_iter().map(|(k, v)| (k, v.0)).collect();
        let pending = answer.pending.map(|p| format!("{}: {}", p.reason.name(), p.message));
        let woken: Vec<&String> =
            self.woken.iter().filter(|(_, n)| n.load(Ordering::Relaxed) > 0).map(|(uid, _)| uid).collect();
        let got = format!("{has:?} {pending:?} {woken:?}");
        let wanted = format!("{:?} {:?} {:?}", ask.has, ask.pending, ask.woken);
        if got == wanted { Ok(()) } else { Err(format!("{}\n  got    {got}\n  wanted {wanted}", ask.pod)) }
    }

    fn play(story: &Story) -> Result<(), String> {
        let root = tempfile::tempdir().map_err(|e| e.to_string())?;
        let ledger = Ledger::new(root.path(), story.capacity);
        let mut player = Player { root, ledger, woken: BTreeMap::new(), now: Timestamp::UNIX_EPOCH };
        for step in &story.steps {
            match step {
                Step::Ask(ask) => player.ask(ask)?,
                Step::Gone(uid) => player.ledger.forget(uid),
                Step::Restart(why) => {
                    assert!(!why.is_empty());
                    player.ledger = Ledger::new(player.root.path(), story.capacity);
                }
            }
        }
        Ok(())
    }
}

#[test]
fn stories() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/allocations");
    let (mut seen, mut problems) = (0, Vec::new());
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let stories: Vec<Story> = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        seen += stories.len();
        problems.extend(stories.iter().filter_map(|s| Some(format!("{}: {}", s.name, Player::play(s).err()?))));
    }
    assert!(seen > 5, "only {seen} stories were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
