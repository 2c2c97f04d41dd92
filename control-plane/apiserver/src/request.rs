//! What a request asks for, parsed once from its method, path and query.

use http::Method;

/// The attributes that authorisation, admission and the registry decide on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether this is about a resource: below `/api/v1` or `/apis/GROUP/VERSION`.
    pub is_resource: bool,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the method in lower case for
    /// other paths.
    pub verb: String,
    pub path: String,
    /// Empty for core.
    pub group: String,
    pub version: String,
    /// Empty for cluster-scoped resources, and for all namespaces.
    pub namespace: String,
    /// The plural.
    pub resource: String,
    pub subresource: String,
    /// Empty for collections.
    pub name: String,
    /// What follows the subresource: the path of a proxied request, without its first slash.
    pub rest: String,
    pub query: Query,
    /// Set by the pipeline where the verb was taken from a watch parameter or a single-object field selector.
    pub field_selector: String,
    pub label_selector: String,
}

/// The query's parameters, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: &str) -> Query {
        Query(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter, empty where absent.
    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A boolean parameter, read as upstream does: anything but `0` and `false` is true.
    pub fn is(&self, key: &str) -> bool {
        self.has(key) && self.get(key) != "0" && !self.get(key).eq_ignore_ascii_case("false")
    }
}

/// The subresources of a namespace; any other word after `namespaces/NAME` is a resource in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    pub fn parse(method: &Method, path: &str, query: &str) -> RequestInfo {
        let query = Query::parse(query);
        let mut info = RequestInfo {
            verb: method.as_str().to_ascii_lowercase(),
            path: path.to_owned(),
            query,
            ..RequestInfo::default()
        };
        // Decoded before it is split, as upstream: a slash in a name would be one in a key as well.
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let segments: Vec<String> = decoded.trim_matches('/').split('/').map(str::to_owned).collect();
        let rest = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["api", version, _, ..] => {
                info.version = (*version).to_owned();
                &segments[2..]
            }
            ["apis", group, version, _, ..] => {
                info.group = (*group).to_owned();
                info.version = (*version).to_owned();
                &segments[3..]
            }
            _ => return info,
        };
        info.is_resource = true;
        match rest {
            // The form of watches before the parameter; it is still documented.
            [first, rest @ ..] if first == "watch" && !rest.is_empty() => {
                info.place(rest);
                info.watch();
            }
            _ => {
                info.place(rest);
                info.name_verb(method);
            }
        }
        info
    }

    fn place(&mut self, mut rest: &[String]) {
        if let [first, namespace, third, ..] = rest
            && first == "namespaces"
            && !NAMESPACE_SUBRESOURCES.contains(&third.as_str())
        {
            self.namespace = namespace.clone();
            rest = &rest[2..];
        } else if let [first, namespace, ..] = rest
            && first == "namespaces"
        {
            // Upstream: a request for a namespace itself is also one in that namespace, so that a Role in it can grant it.
            self.namespace = namespace.clone();
        }
        let mut rest = rest.iter();
        let mut next = || rest.next().cloned().unwrap_or_default();
        (self.resource, self.name, self.subresource) = (next(), next(), next());
        self.rest = rest.as_slice().join("/");
    }

    /// A watch that the path asks for, of one object where it names one.
    fn watch(&mut self) {
        self.verb = "watch".to_owned();
        self.label_selector = self.query.get("labelSelector").to_owned();
        self.field_selector = match self.name.as_str() {
            "" => self.query.get("fieldSelector").to_owned(),
            name => format!("metadata.name={}", name.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")),
        };
    }

    fn name_verb(&mut self, method: &Method) {
        let verb = match *method {
            Method::POST => "create",
            Method::GET | Method::HEAD => match (self.name.is_empty(), self.query.is("watch")) {
                (false, _) => "get",
                (true, true) => "watch",
                (true, false) => "list",
            },
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if self.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        };
        self.verb = verb.to_owned();
        if matches!(verb, "list" | "watch" | "deletecollection") {
            self.field_selector = self.query.get("fieldSelector").to_owned();
            self.label_selector = self.query.get("labelSelector").to_owned();
            if let Some(name) = single_name(&self.field_selector) {
                self.name = name.to_owned();
            }
        }
    }

    /// Whether the request is for a collection, whatever its field selector says.
    pub fn is_collection(&self) -> bool {
        matches!(self.verb.as_str(), "list" | "watch" | "deletecollection")
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The name in a selector that asks for exactly one (`metadata.name=x`), so that a rule with resourceNames can match.
fn single_name(selector: &str) -> Option<&str> {
    let value = selector.strip_prefix("metadata.name=")?;
    let value = value.strip_prefix('=').unwrap_or(value);
    (!value.is_empty() && !value.contains([',', '=', '!'])).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// method path?query | verb group version namespace resource name subresource rest
    const CASES: &str = "
        GET /api/v1/pods | list - v1 - pods - - -
        GET /api/v1/pods?watch=true | watch - v1 - pods - - -
        GET /api/v1/pods?watch=0 | list - v1 - pods - - -
        GET /api/v1/pods?watch=FALSE | list - v1 - pods - - -
        GET /api/v1/namespaces/a/pods/b | get - v1 a pods b - -
        GET /api/v1/namespaces/a/pods/b/log | get - v1 a pods b log -
        POST /api/v1/namespaces/a/pods/b/proxy/x/y | create - v1 a pods b proxy x/y
        PUT /api/v1/namespaces/a/status | update - v1 a namespaces a status -
        PUT /api/v1/namespaces/a/finalize | update - v1 a namespaces a finalize -
        GET /api/v1/namespaces/a | get - v1 a namespaces a - -
        GET /api/v1/namespaces | list - v1 - namespaces - - -
        DELETE /apis/apps/v1/namespaces/a/deployments | deletecollection apps v1 a deployments - - -
        PATCH /apis/apps/v1/namespaces/a/deployments/d/scale | patch apps v1 a deployments d scale -
        GET /api/v1/nodes?fieldSelector=metadata.name=n1 | list - v1 - nodes n1 - -
        GET /api/v1/nodes?fieldSelector=metadata.name=n1,spec.unschedulable=true | list - v1 - nodes - - -
        GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system:node | get rbac.authorization.k8s.io v1 - clusterroles system:node - -
        GET /api/v1/secrets/a%2Fb | get - v1 - secrets a b -
        GET /api/v1/watch/pods | watch - v1 - pods - - -
        GET /api/v1/watch/namespaces/a/pods/b | watch - v1 a pods b - -
        POST /api/v1/watch/pods | watch - v1 - pods - - -
        GET /apis/rbac.authorization.k8s.io/v1/clusterroles/a%3Ab | get rbac.authorization.k8s.io v1 - clusterroles a:b - -
    ";

    #[test]
    fn paths_are_parsed() {
        for case in CASES.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (request, expected) = case.split_once(" | ").expect("a case has two sides");
            let (method, target) = request.split_once(' ').expect("a method and a target");
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let i = RequestInfo::parse(&method.parse().expect("a method"), path, query);
            let fields = [&i.verb, &i.group, &i.version, &i.namespace, &i.resource, &i.name, &i.subresource, &i.rest];
            let got: Vec<&str> = fields.iter().map(|f| if f.is_empty() { "-" } else { f.as_str() }).collect();
            assert_eq!(got.join(" "), expected, "{request}");
            assert!(i.is_resource);
        }
    }

    #[test]
    fn other_paths_keep_their_method() {
        for path in ["/healthz", "/api", "/api/v1", "/apis/apps/v1", "/apis/apps", "/openapi/v3/apis/apps/v1", "/"] {
            let info = RequestInfo::parse(&Method::GET, path, "");
            assert!(!info.is_resource && info.verb == "get", "{path}");
        }
    }
}
