//! PodDisruptionBudgets.

use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::Kind;
use crate::table;
use std::borrow::Cow;

pub static POD_DISRUPTION_BUDGET: Kind = Kind {
    names: names!("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget", ["pdb"], []),
    type_name: Cow::Borrowed("io.k8s.api.policy.v1.PodDisruptionBudget"),
    subresources: subresources![("status", "", "", "PodDisruptionBudget", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Min Available", "string", "", 0),
        ("Max Unavailable", "string", "", 0),
        ("Allowed Disruptions", "integer", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    has_generation: true,
    unconditional_update: false,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::disruption_budgets,
    validate: rules::disruption_budget,
    validate_update: rules::disruption_update,
    ..Kind::PLAIN
};
