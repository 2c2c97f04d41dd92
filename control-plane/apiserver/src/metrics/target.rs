//! What a request was for, as labels name it (upstream's `endpoints/metrics`).

use crate::request::RequestInfo;
use http::HeaderMap;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Target {
    component: &'static str,
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

impl Target {
    /// What upstream counts: requests for resources that are served (`known`), for health, for the lists of groups and for
    /// documents. Nothing else, or a client could make a series with each name that it invents.
    pub(super) fn of(info: &RequestInfo, headers: &HeaderMap, known: bool) -> Option<Target> {
        let verb = verb(info, headers);
        if info.is_resource {
            return known.then(|| Target::resource(info, verb));
        }
        let (component, subresource) = match info.path.as_str() {
            path @ ("/healthz" | "/livez" | "/readyz") => ("", path),
            "/openapi/v3" => ("", "openapi/v3"),
            path if path.starts_with("/openapi/v3/") => ("", "openapi/v3/"),
            "/api" | "/api/" => ("apiserver", "api"),
            "/apis" | "/apis/" => ("apiserver", "apis"),
            _ => return None,
        };
        Some(Target { component, verb, subresource: subresource.to_owned(), ..Target::default() })
    }

    /// Whatever was asked for, for what is not answered as others are.
    pub(super) fn any(info: &RequestInfo, headers: &HeaderMap, component: &'static str) -> Target {
        let verb = verb(info, headers);
        match info.is_resource {
            true => Target { component, ..Target::resource(info, verb) },
            false => Target { component, verb, subresource: info.path.clone(), ..Target::default() },
        }
    }

    fn resource(info: &RequestInfo, verb: &'static str) -> Target {
        let scope = scope(info);
        let (group, version) = (info.group.clone(), info.version.clone());
        let (resource, subresource) = (info.resource.clone(), info.subresource.clone());
        Target { component: "apiserver", verb, group, version, resource, subresource, scope }
    }

    /// Whether it read one object or several.
    pub(super) fn reads(&self) -> bool {
        matches!(self.verb, "GET" | "LIST")
    }

    pub(super) fn is_watch(&self) -> bool {
        self.verb == "WATCH"
    }

    pub(super) fn labels(&self) -> String {
        let Target { component, verb, group, version, resource, subresource, scope } = self;
        format!(
            "component=\"{component}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}

/// Whether a request is about one object, those of a namespace, or all.
pub(crate) fn scope(info: &RequestInfo) -> &'static str {
    match (info.verb.as_str(), info.name.is_empty(), info.namespace.is_empty()) {
        ("create", ..) | (_, false, _) => "resource",
        (_, true, false) => "namespace",
        (_, true, true) => "cluster",
    }
}

fn verb(info: &RequestInfo, headers: &HeaderMap) -> &'static str {
    if info.is_resource && super::is_stream(&info.subresource) {
        return "CONNECT";
    }
    match info.verb.as_str() {
        "get" | "head" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => {
            let kind = headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
            if kind.starts_with("application/apply-patch") { "APPLY" } else { "PATCH" }
        }
        "delete" | "deletecollection" => "DELETE",
        _ => "other",
    }
}

/// The client as a label, where it is a part of the control plane.
pub(super) fn system_client(headers: &HeaderMap) -> &'static str {
    let agent = headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let program = agent.split('/').next().unwrap_or("");
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler"].into_iter().find(|p| *p == program).unwrap_or("")
}

/// The query's `dryRun` as a label.
pub(super) fn dry_run(info: &RequestInfo) -> &'static str {
    let mut asked = info.query.all("dryRun").peekable();
    match (asked.peek().is_none(), asked.all(|v| v == "All")) {
        (true, _) => "",
        (false, true) => "All",
        (false, false) => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method};

    #[test]
    fn requests_have_upstreams_labels() {
        for (method, path, known, verb, resource, scope) in [
            ("GET", "/api/v1/namespaces/a/pods", true, "LIST", "pods", "namespace"),
            ("GET", "/api/v1/pods", true, "LIST", "pods", "cluster"),
            ("GET", "/api/v1/namespaces/a/pods/b", true, "GET", "pods", "resource"),
            ("HEAD", "/api/v1/namespaces/a/pods/b", true, "GET", "pods", "resource"),
            ("GET", "/api/v1/pods?watch=1", true, "WATCH", "pods", "cluster"),
            ("POST", "/api/v1/namespaces/a/pods", true, "POST", "pods", "resource"),
            ("PATCH", "/api/v1/namespaces/a/pods/b", true, "APPLY", "pods", "resource"),
            ("DELETE", "/api/v1/namespaces/a/pods", true, "DELETE", "pods", "namespace"),
            ("GET", "/api/v1/namespaces/a/pods/b/exec", true, "CONNECT", "pods", "resource"),
            ("PUT", "/api/v1/nodes/b/proxy/x", true, "CONNECT", "nodes", "resource"),
        ] {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let info = RequestInfo::parse(&method.parse::<Method>().expect("a method"), path, query);
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("application/apply-patch+yaml"));
            let target = Target::of(&info, &headers, known).expect("it is counted");
            assert_eq!(
                (target.verb, target.resource.as_str(), target.scope),
                (verb, resource, scope),
                "{method} {path}"
            );
        }
        for (path, labels) in [
            ("/readyz", Some(("", "/readyz"))),
            ("/openapi/v3/apis/apps/v1", Some(("", "openapi/v3/"))),
            ("/apis", Some(("apiserver", "apis"))),
            ("/apis/apps", None),
            ("/version", None),
            ("/api/v1/namespaces/a/nothings", None),
        ] {
            let target = Target::of(&RequestInfo::parse(&Method::GET, path, ""), &HeaderMap::new(), false);
            assert_eq!(target.as_ref().map(|t| (t.component, t.subresource.as_str())), labels, "{path}");
        }
        for (agent, label) in [
            ("kube-scheduler/v1.36.0 (linux/amd64)", "kube-scheduler"),
            ("kube-apiserver", "kube-apiserver"),
            ("kubectl/v1", ""),
            ("", ""),
        ] {
            let headers = HeaderMap::from_iter([(http::header::USER_AGENT, HeaderValue::from_static(agent))]);
            assert_eq!(system_client(&headers), label, "{agent}");
        }
        for (query, label) in
            [("", ""), ("dryRun=All", "All"), ("dryRun=All&dryRun=All", "All"), ("dryRun=x", "invalid")]
        {
            assert_eq!(dry_run(&RequestInfo::parse(&Method::POST, "/api/v1/pods", query)), label, "{query}");
        }
    }
}
