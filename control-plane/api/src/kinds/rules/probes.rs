//! Probes and lifecycle hooks.

use super::at::At;
use super::words;

const PROBE_HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];

/// The probes of a container that may have them.
pub(super) fn probes(container: &At<'_>) {
    let [live, ready, started] = ["livenessProbe", "readinessProbe", "startupProbe"].map(|name| container.field(name));
    probe(&live);
    once(&live);
    probe(&ready);
    let grace = ready.field("terminationGracePeriodSeconds");
    if grace.is() {
        grace.invalid("must not be set for readinessProbes");
    }
    probe(&started);
    once(&started);
}

fn once(probe: &At<'_>) {
    let success = probe.field("successThreshold");
    if success.int().is_some_and(|s| s != 1) {
        success.invalid("must be 1");
    }
}

fn probe(at: &At<'_>) {
    if !at.is() {
        return;
    }
    handler(at, PROBE_HANDLERS, 0);
    for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        at.field(number).not_negative();
    }
    let grace = at.field("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|g| g <= 0) {
        grace.invalid("must be greater than 0");
    }
}

/// The hooks of a container; `grace` is how long its pod may take to end.
pub(super) fn lifecycle(at: &At<'_>, grace: i64) {
    for hook in ["postStart", "preStop"].map(|name| at.field(name)) {
        if hook.is() {
            handler(&hook, HOOK_HANDLERS, grace);
        }
    }
}

fn handler(at: &At<'_>, known: &[&str], grace: i64) {
    let mut set = 0;
    for handler in known.iter().map(|h| at.field(h)).filter(At::is) {
        set += 1;
        if set > 1 {
            handler.forbidden("may not specify more than 1 handler type");
            continue;
        }
        one_handler(&handler, grace);
    }
    if set == 0 {
        at.required("must specify a handler type");
    }
}

fn one_handler(at: &At<'_>, grace: i64) {
    match at.path.rsplit('.').next().unwrap_or("") {
        "exec" => at.field("command").not_empty(),
        "httpGet" => http_get(at),
        "tcpSocket" => words::port(&at.field("port")),
        "grpc" => at.field("port").between(1, 65535),
        "sleep" => {
            let seconds = at.field("seconds").int().unwrap_or(0);
            if seconds < 0 || seconds > grace {
                let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                at.invalid_as(&seconds.to_string(), &why);
            }
        }
        _ => {}
    }
}

fn http_get(at: &At<'_>) {
    at.field("path").not_empty();
    words::port(&at.field("port"));
    at.field("scheme").one_of(&["HTTP", "HTTPS"]);
    let headers = at.field("httpHeaders");
    for header in headers.items() {
        let name = header.get("name");
        words::http_header(name).iter().for_each(|why| headers.invalid_text(name, why));
    }
}
