//! FlowSchemas: whether the priority level that each names is there. No request is weighed by them.

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaCondition, PriorityLevelConfiguration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const DANGLING: &str = "Dangling";

pub(crate) struct FlowSchemas;

impl Controller for FlowSchemas {
    fn name(&self) -> &'static str {
        "flow-schema-status"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<FlowSchema>();
        watches.mapped::<PriorityLevelConfiguration>(|view, change| {
            // What a level says changes nothing here.
            if change.before.is_some() && change.after.is_some() {
                return vec![];
            }
            view.of::<FlowSchema>().list().iter().map(|schema| Key::of(schema.as_ref())).collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        if let Some(schema) = view.of::<FlowSchema>().get_key(key)
            && let Some(level) = schema.spec.as_ref().map(|spec| &spec.priority_level_configuration.name)
        {
            let is_there = view.of::<PriorityLevelConfiguration>().get_key(&Key::new("", level.as_str())).is_some();
            if let Some(next) = told(&schema, level, is_there, moment.now) {
                plan.status(&next);
            }
        }
        plan.into()
    }
}

/// The schema with its condition, if that is news.
fn told(schema: &FlowSchema, level: &str, is_there: bool, now: Timestamp) -> Option<FlowSchema> {
    let (status, reason, end) = match is_there {
        true => ("False", "Found", "it exists"),
        false => ("True", "NotFound", "there is no such object"),
    };
    let mut next = schema.clone();
    let conditions = next.status.get_or_insert_default().conditions.get_or_insert_default();
    let known = conditions.iter().position(|c| c.type_.as_deref() == Some(DANGLING)).map(|i| conditions.remove(i));
    let since = known.filter(|k| k.status.as_deref() == Some(status)).and_then(|k| k.last_transition_time);
    let glue = if is_there { "and" } else { "but" };
    conditions.push(FlowSchemaCondition {
        type_: Some(DANGLING.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {level:?} {glue} {end}"
        )),
        last_transition_time: since.or(Some(Time(now))),
    });
    (next.status != schema.status).then_some(next)
}
