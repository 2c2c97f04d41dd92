//! Jobs and CronJobs.

use super::{columns, names, subresources};
use crate::kind::Kind;
use std::borrow::Cow;

pub static CRON_JOB: Kind = Kind {
    names: names!("batch", "v1", "CronJob", "cronjobs", "cronjob", ["cj"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.batch.v1.CronJob"),
    subresources: subresources![("status", "", "", "CronJob", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Schedule", "string", "", 0),
        ("Timezone", "string", "", 0),
        ("Suspend", "boolean", "", 0),
        ("Active", "integer", "", 0),
        ("Last Schedule", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    ..Kind::PLAIN
};

pub static JOB: Kind = Kind {
    names: names!("batch", "v1", "Job", "jobs", "job", [], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.batch.v1.Job"),
    subresources: subresources![("status", "", "", "Job", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Status", "string", "", 0),
        ("Completions", "string", "", 0),
        ("Duration", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    ..Kind::PLAIN
};
