//! In which order clients meet the groups and versions that are built in: upstream's priorities, the highest first. It
//! decides between resources of one name.

/// A group's priority, and that of its version `v1` within it. A later version of a group comes before an earlier one.
const GROUPS: &[(&str, i32, i32)] = &[
    ("", 18000, 1),
    ("apps", 17800, 15),
    ("events.k8s.io", 17750, 15),
    ("authentication.k8s.io", 17700, 15),
    ("authorization.k8s.io", 17600, 15),
    ("autoscaling", 17500, 15),
    ("batch", 17400, 15),
    ("certificates.k8s.io", 17300, 15),
    ("networking.k8s.io", 17200, 15),
    ("policy", 17100, 15),
    ("rbac.authorization.k8s.io", 17000, 15),
    ("storage.k8s.io", 16800, 15),
    ("admissionregistration.k8s.io", 16700, 15),
    ("apiextensions.k8s.io", 16700, 15),
    ("scheduling.k8s.io", 16600, 15),
    ("coordination.k8s.io", 16500, 15),
    ("node.k8s.io", 16300, 15),
    ("discovery.k8s.io", 16200, 15),
    ("resource.k8s.io", 16200, 21),
    ("flowcontrol.apiserver.k8s.io", 16100, 21),
];

/// The priorities of all groups that are defined.
pub const DEFINED: (i32, i32) = (1000, 100);

/// The priorities of a built-in group and of a version of it.
pub fn built_in(group: &str, version: &str) -> Option<(i32, i32)> {
    let (_, of_group, first) = GROUPS.iter().find(|(name, ..)| *name == group)?;
    let number = version.trim_start_matches('v').parse().unwrap_or(1);
    Some((*of_group, first * number))
}
