//! The ranges that addresses of Services are given out of: those that the server is started with, and every further ServiceCIDR
//! that is ready and stays.

use crate::ctx::Ctx;
use crate::lookup;
use api::{Object, Status, Value};
use ipnet::IpNet;

/// The ServiceCIDR of the ranges that the server is started with.
const OWN: &str = "kubernetes";

/// Ranges that may be given out of now, the server's own first.
pub(super) async fn usable(ctx: &Ctx) -> Result<Vec<IpNet>, Status> {
    let objects = ctx.registry.list(&*ctx.registry.known(lookup::SERVICE_CIDRS)?, None).await?;
    let ending = objects.iter().any(|object| object.name() == OWN && object.deletion_timestamp().is_some());
    let own = ctx.config.service_cidrs().filter(|_| !ending);
    let mut ranges: Vec<IpNet> = own.map(|range| range.trunc()).collect();
    for range in objects.iter().filter(|object| is_usable(object)).flat_map(cidrs) {
        if !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    Ok(ranges)
}

/// One of which nobody says anything is ready: there may be no controller that would.
fn is_usable(object: &Object) -> bool {
    let conditions = object.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or_default();
    let text = |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ready = conditions.iter().find(|condition| text(condition, "type") == "Ready");
    object.deletion_timestamp().is_none() && ready.is_none_or(|ready| text(ready, "status") == "True")
}

fn cidrs(object: &Object) -> Vec<IpNet> {
    let list = object.at(&["spec", "cidrs"]).and_then(Value::as_list).unwrap_or_default();
    list.iter().filter_map(|cidr| cidr.as_str()?.parse::<IpNet>().ok()).map(|range| range.trunc()).collect()
}
