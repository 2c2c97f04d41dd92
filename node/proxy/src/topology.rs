//! Which endpoints are close: those whose hints name this node, or its zone (KEP-2433, KEP-3015). Hints are heeded only if
//! every endpoint has them and one of them is for here; else traffic goes to all.

use crate::rules::Node;
use k8s_openapi::api::discovery::v1::Endpoint;

/// What hints must name to be for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Close<'a> {
    Node(&'a str),
    Zone(&'a str),
}

impl Close<'_> {
    /// Whether an endpoint's hints name it; none where the endpoint has no such hints.
    fn names(self, endpoint: &Endpoint) -> Option<bool> {
        let hints = endpoint.hints.as_ref()?;
        match self {
            Close::Node(node) => {
                let hints = hints.for_nodes.as_ref().filter(|hints| !hints.is_empty())?;
                Some(hints.iter().any(|hint| hint.name == node))
            }
            Close::Zone(zone) => {
                let hints = hints.for_zones.as_ref().filter(|hints| !hints.is_empty())?;
                Some(hints.iter().any(|hint| hint.name == zone))
            }
        }
    }
}

/// Keeps of the ready endpoints of a Service those that are close, or all.
pub(crate) fn close(endpoints: &mut Vec<&Endpoint>, node: &Node) {
    let node_first = std::iter::once(Close::Node(&node.name));
    let zone = node.zone.as_deref().filter(|zone| !zone.is_empty()).map(Close::Zone);
    for close in node_first.chain(zone) {
        let named: Option<Vec<bool>> = endpoints.iter().map(|endpoint| close.names(endpoint)).collect();
        if named.is_some_and(|named| named.contains(&true)) {
            return endpoints.retain(|endpoint| close.names(endpoint) == Some(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hints_are_heeded_if_all_have_them_and_one_is_for_here() {
        /// The node and the zone that an endpoint's hints name.
        type Hints = (&'static str, &'static str);
        // Of each endpoint its hints, and which endpoints are kept on node n1 in zone a.
        let cases: [(&str, &[Hints], &[usize]); 8] = [
            ("no hints", &[("", ""), ("", "")], &[0, 1]),
            ("zones", &[("", "a"), ("", "b"), ("", "a")], &[0, 2]),
            ("nobody for this zone", &[("", "b"), ("", "c")], &[0, 1]),
            ("one without", &[("", "a"), ("", "")], &[0, 1]),
            ("the node before the zone", &[("n1", "a"), ("n2", "a")], &[0]),
            ("nobody for this node", &[("n2", "a"), ("n3", "b")], &[0]),
            ("one without a node", &[("n1", "a"), ("", "a"), ("", "b")], &[0, 1]),
            ("none", &[], &[]),
        ];
        let node = Node { name: "n1".into(), pod_cidrs: vec![], zone: Some("a".into()) };
        for (name, given, kept) in cases {
            let hint = |name: &str| if name.is_empty() { json!([]) } else { json!([{"name": name}]) };
            let all: Vec<Endpoint> = given
                .iter()
                .map(|(node, zone)| json!({"addresses": [], "hints": {"forNodes": hint(node), "forZones": hint(zone)}}))
                .map(|endpoint| serde_json::from_value(endpoint).unwrap())
                .collect();
            let mut left: Vec<&Endpoint> = all.iter().collect();
            close(&mut left, &node);
            let expected: Vec<&Endpoint> = kept.iter().map(|n| &all[*n]).collect();
            assert_eq!(left, expected, "{name}");
        }
        let nowhere = Node { zone: None, ..node };
        let one: Endpoint =
            serde_json::from_value(json!({"addresses": [], "hints": {"forZones": [{"name": ""}]}})).unwrap();
        let mut left = vec![&one];
        close(&mut left, &nowhere);
        assert_eq!(left.len(), 1, "a node without a zone");
    }
}
