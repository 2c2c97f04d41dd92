//! HorizontalPodAutoscalers.

use super::{columns, names, subresources};
use crate::kind::Kind;
use std::borrow::Cow;

pub static HORIZONTAL_POD_AUTOSCALER: Kind = Kind {
    names: names!(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        ["hpa"],
        ["all"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler"),
    subresources: subresources![("status", "", "", "HorizontalPodAutoscaler", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Reference", "string", "", 0),
        ("Targets", "string", "", 0),
        ("MinPods", "string", "", 0),
        ("MaxPods", "string", "", 0),
        ("Replicas", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    ..Kind::PLAIN
};

pub static HORIZONTAL_POD_AUTOSCALER_V2: Kind = Kind {
    names: names!(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        ["hpa"],
        ["all"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"),
    subresources: subresources![("status", "", "", "HorizontalPodAutoscaler", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Reference", "string", "", 0),
        ("Targets", "string", "", 0),
        ("MinPods", "string", "", 0),
        ("MaxPods", "string", "", 0),
        ("Replicas", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    ..Kind::PLAIN
};
