//! Deletes finished jobs when their time to live is over.

use std::time::Duration;

use client::plan::{DeleteOptions, Preconditions};
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;

use crate::job::finish;

pub(crate) struct TtlAfterFinished;

impl Controller for TtlAfterFinished {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Job>();
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(job) = view.of::<Job>().get_key(key).filter(|job| job.metadata.deletion_timestamp.is_none()) else {
            return plan.into();
        };
        let ttl = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
        let ended = job.status.as_ref().and_then(finish::finished);
        let (Some(ttl), Some(ended)) = (ttl, ended) else { return plan.into() };
        let left = (ended + SignedDuration::from_secs(ttl.into())).duration_since(moment.now);
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => plan.again(left),
            _ => {
                // Only as it is here: it may have been given more time.
                let resource_version = job.metadata.resource_version.clone();
                let options = DeleteOptions {
                    propagation_policy: Some("Foreground"),
                    preconditions: Preconditions { uid: None, resource_version },
                    ..DeleteOptions::default()
                };
                plan.delete_with(job.as_ref(), options);
            }
        }
        plan.into()
    }
}
