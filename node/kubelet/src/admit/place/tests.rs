//! Places as data: `places.yaml` holds a node, the pods on it, the pod that comes, and what is said of it.

use super::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    node: Node,
    #[serde(default)]
    others: Vec<Pod>,
    pod: Pod,
    /// Reasons and messages; the first one is told.
    #[serde(default)]
    then: Vec<(String, String)>,
}

#[test]
fn places() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("places.yaml")).unwrap();
    for case in cases {
        let said: Vec<(String, String)> = objections(&case.pod, &case.node, case.others.iter())
            .iter()
            .map(Refusal::from)
            .map(|refusal| (refusal.reason, refusal.message))
            .collect();
        assert_eq!(said, case.then, "{}", case.name);
    }
}
