//! Webhooks and the bindings of admission policies. Expressions are checked where they are compiled.

use super::at::At;
use super::selectors::label_selector;
use super::workloads::{checked, status_updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;

pub(in crate::kinds) fn webhooks(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let mut seen: Vec<&str> = Vec::new();
        for hook in root.field("webhooks").items() {
            webhook(&hook);
            let name = hook.field("name");
            if seen.contains(&name.text()) {
                name.duplicate();
            }
            seen.push(name.text());
        }
    });
}

/// `a.b.c`: a name of at least three parts.
fn full_name(at: &At<'_>) {
    let text = at.text();
    if text.is_empty() {
        return at.required("");
    }
    let wrong = names::dns1123_subdomain(text);
    wrong.iter().for_each(|why| at.invalid_text(text, why));
    if wrong.is_empty() && text.split('.').count() < 3 {
        at.invalid("should be a domain with at least three segments separated by dots");
    }
}

fn webhook(at: &At<'_>) {
    full_name(&at.field("name"));
    at.field("rules").items().for_each(|r| rule(&r));
    at.field("failurePolicy").maybe_one_of(&["Fail", "Ignore"]);
    at.field("matchPolicy").maybe_one_of(&["Equivalent", "Exact"]);
    let effects = at.field("sideEffects");
    match effects.is() {
        true => effects.one_of(&["None", "NoneOnDryRun"]),
        false => effects.required("must specify one of None, NoneOnDryRun"),
    }
    at.field("reinvocationPolicy").maybe_one_of(&["IfNeeded", "Never"]);
    label_selector(&at.field("namespaceSelector"));
    label_selector(&at.field("objectSelector"));
    client(&at.field("clientConfig"));
    review_versions(&at.field("admissionReviewVersions"));
    let timeout = at.field("timeoutSeconds");
    if timeout.int().is_some_and(|t| !(1..=30).contains(&t)) {
        timeout.invalid("the timeout value must be between 1 and 30 seconds");
    }
    conditions(&at.field("matchConditions"));
}

/// A request is judged by so many conditions at most (upstream's limit).
const CONDITIONS_AT_MOST: usize = 64;

fn conditions(at: &At<'_>) {
    if at.len() > CONDITIONS_AT_MOST {
        at.too_many(CONDITIONS_AT_MOST);
    }
    let mut seen: Vec<&str> = Vec::new();
    for condition in at.items() {
        blank(&condition.field("expression"), "");
        let name = condition.field("name");
        name.required_matches(names::qualified_name);
        if !name.is_empty() && seen.contains(&name.text()) {
            name.duplicate();
        }
        seen.push(name.text());
    }
}

/// Complains of an expression that says nothing.
fn blank(expression: &At<'_>, why: &str) {
    if expression.text().trim().is_empty() {
        expression.required(why);
    }
}

fn review_versions(at: &At<'_>) {
    const KNOWN: &[&str] = &["v1", "v1beta1"];
    if at.is_empty() {
        return at.required("must specify one of v1, v1beta1");
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in at.items() {
        if seen.contains(&version.text()) {
            version.invalid("duplicate version");
            continue;
        }
        seen.push(version.text());
        version.matches(names::dns1035_label);
    }
    if !seen.iter().any(|v| KNOWN.contains(v)) {
        at.invalid("must include at least one of v1, v1beta1");
    }
}

/// Which requests a hook or a policy is for.
pub(super) fn rule(at: &At<'_>) {
    let [operations, groups, versions, kinds] =
        ["operations", "apiGroups", "apiVersions", "resources"].map(|f| at.field(f));
    operations.not_empty();
    if operations.len() > 1 && operations.items().any(|o| o.text() == "*") {
        operations.invalid("if '*' is present, must not specify other operations");
    }
    operations.items().for_each(|o| o.one_of(&["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]));
    for (list, what) in [(&groups, "API groups"), (&versions, "API versions")] {
        list.not_empty();
        if list.len() > 1 && list.items().any(|g| g.text() == "*") {
            list.invalid(&format!("if '*' is present, must not specify other {what}"));
        }
    }
    versions.items().filter(|v| v.text().is_empty()).for_each(|v| v.required(""));
    resources(&kinds);
    at.field("scope").maybe_one_of(&["*", "Cluster", "Namespaced"]);
}

/// `pods`, `pods/log`, `*/scale`: a wildcard covers what follows it, and alone stands for all.
fn resources(at: &At<'_>) {
    at.not_empty();
    let all: Vec<&str> = at.items().map(|r| r.text()).collect();
    let (mut of_kind, mut of_part): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for one in at.items() {
        let Some((kind, part)) = one.text().split_once('/') else {
            if one.text().is_empty() {
                one.required("");
            }
            continue;
        };
        if of_kind.contains(&kind) {
            one.invalid(&format!("if '{kind}/*' is present, must not specify {}", one.text()));
        }
        if of_part.contains(&part) {
            one.invalid(&format!("if '*/{part}' is present, must not specify {}", one.text()));
        }
        if part == "*" {
            of_kind.push(kind);
        }
        if kind == "*" {
            of_part.push(part);
        }
    }
    if all.len() > 1 && all.contains(&"*/*") {
        at.invalid("if '*/*' is present, must not specify other resources");
    }
    // Upstream asks the last one without a part alone.
    let last_whole = all.iter().rev().find(|r| !r.is_empty() && !r.contains('/'));
    if all.contains(&"*") && last_whole.is_some_and(|r| *r != "*") {
        at.invalid("if '*' is present, must not specify other resources without subresources");
    }
}

/// How a webhook is reached.
pub(super) fn client(at: &At<'_>) {
    let (url, service) = (at.field("url"), at.field("service"));
    match (url.is(), service.is()) {
        (true, false) => webhook_url(&url),
        (false, true) => webhook_service(&service),
        _ => at.required("exactly one of url or service is required"),
    }
}

fn webhook_url(at: &At<'_>) {
    let form = "desired format: https://host[/path]";
    let text = at.text();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", ""));
    if scheme != "https" {
        at.invalid_text(scheme, &format!("'https' is the only allowed URL scheme; {form}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split('/').next().unwrap_or("");
    let (user, host) = host.rsplit_once('@').unwrap_or(("", host));
    if host.is_empty() {
        at.invalid_text("", &format!("host must be specified; {form}"));
    }
    for (part, what) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            at.invalid_text(part, what);
        }
    }
}

fn webhook_service(at: &At<'_>) {
    at.field("name").not_empty();
    at.field("namespace").not_empty();
    let (port, path) = (at.field("port"), at.field("path"));
    if port.is() && !port.int().is_some_and(|p| (1..=65535).contains(&p)) {
        port.invalid("port is not valid: must be between 1 and 65535, inclusive");
    }
    let text = path.text();
    if !path.is() || text == "/" {
        return;
    }
    if !text.starts_with('/') {
        path.invalid("must start with a '/'");
    }
    // Whatever stands first counts as the slash.
    let steps = text.get(text.chars().next().map_or(0, char::len_utf8)..).unwrap_or("");
    let steps = steps.strip_suffix('/').unwrap_or(steps);
    for (i, step) in steps.split('/').enumerate() {
        match step.is_empty() {
            true => path.invalid(&format!("segment[{i}] may not be empty")),
            false => {
                let wrong = names::dns1123_subdomain(step);
                wrong.iter().for_each(|why| path.invalid(&format!("segment[{i}]: {why}")));
            }
        }
    }
}

pub(in crate::kinds) fn policy_binding(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        binding_spec(&spec);
        actions(&spec.field("validationActions"));
    });
}

pub(in crate::kinds) fn mutation_binding(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        binding_spec(&spec);
        mutable(&spec.field("matchResources"));
    });
}

/// What is deleted can't be changed.
fn mutable(constraints: &At<'_>) {
    let rules = constraints.field("resourceRules");
    let place = format!("{}.operations", rules.path);
    for operation in rules.items().flat_map(|r| r.field("operations").items().collect::<Vec<_>>()) {
        operation.named(place.as_str()).one_of(&["*", "CONNECT", "CREATE", "UPDATE"]);
    }
}

fn binding_spec(spec: &At<'_>) {
    spec.field("policyName").required_matches(names::dns1123_subdomain);
    let parameters = spec.field("paramRef");
    if parameters.is() {
        param_ref(&parameters);
    }
    match_resources(&spec.field("matchResources"));
}

fn param_ref(at: &At<'_>) {
    let (name, selector) = (at.field("name"), at.field("selector"));
    let both = "name and selector are mutually exclusive";
    match (name.text().is_empty(), selector.is()) {
        (false, true) => {
            name.forbidden(both);
            selector.forbidden(both);
        }
        (true, false) => at.required("one of name or selector must be specified"),
        (false, false) => name.matches(super::metadata::path_segment),
        (true, true) => label_selector(&selector),
    }
    let missing = at.field("parameterNotFoundAction");
    match missing.text() {
        "" => missing.required(""),
        _ => missing.one_of(&["Deny", "Allow"]),
    }
}

fn match_resources(at: &At<'_>) {
    at.field("matchPolicy").maybe_one_of(&["Equivalent", "Exact"]);
    label_selector(&at.field("namespaceSelector"));
    label_selector(&at.field("objectSelector"));
    for list in ["resourceRules", "excludeResourceRules"] {
        at.field(list).items().for_each(|r| named_rule(&r));
    }
}

/// A rule that is for some objects alone.
fn named_rule(at: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for name in at.field("resourceNames").items() {
        name.matches(super::metadata::path_segment);
        match seen.contains(&name.text()) {
            true => name.duplicate(),
            false => seen.push(name.text()),
        }
    }
    rule(at);
}

fn actions(at: &At<'_>) {
    if at.is_empty() {
        return at.required("at least one validation action is required");
    }
    let mut seen: Vec<&str> = Vec::new();
    for action in at.items() {
        if !["Audit", "Deny", "Warn"].contains(&action.text()) {
            action.unsupported(&["Audit", "Deny", "Warn"]);
        }
        if seen.contains(&action.text()) {
            action.duplicate();
        }
        seen.push(action.text());
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        at.invalid("must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
    }
}

fn param_kind(at: &At<'_>) {
    let (version, kind) = (at.field("apiVersion"), at.field("kind"));
    let together = |at: &At<'_>, text: &str, found: Vec<String>| {
        if !found.is_empty() {
            at.invalid_text(text, &found.join(","));
        }
    };
    match version.text().split('/').collect::<Vec<_>>()[..] {
        [""] => version.required(""),
        [own] => together(&version, own, names::dns1035_label(own)),
        ["", ""] | [_, ""] => version.invalid("version must be specified"),
        [group, own] => {
            if !group.is_empty() {
                together(&version, group, names::dns1123_subdomain(group));
            }
            together(&version, own, names::dns1035_label(own));
        }
        _ => version.invalid(&format!("unexpected GroupVersion string: {}", version.text())),
    }
    let wrong = names::dns1035_label(&kind.text().to_lowercase());
    match kind.text() {
        "" => kind.required(""),
        _ if wrong.is_empty() => {}
        _ => kind.invalid(&format!("may have mixed case, but should otherwise match: {}", wrong.join(","))),
    }
}

/// What both sorts of policies say: parameters, matches, conditions.
fn policy(spec: &At<'_>) {
    spec.field("failurePolicy").maybe_one_of(&["Fail", "Ignore"]);
    let kind = spec.field("paramKind");
    if kind.is() {
        param_kind(&kind);
    }
    let constraints = spec.field("matchConstraints");
    match constraints.is() {
        false => constraints.required(""),
        true => {
            match_resources(&constraints);
            if constraints.field("resourceRules").is_empty() {
                constraints.field("resourceRules").required("");
            }
        }
    }
    conditions(&spec.field("matchConditions"));
}

const ITEMS: &str = "validations or auditAnnotations must contain at least one item";

pub(in crate::kinds) fn validating_policy(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        policy(&spec);
        variables(&spec.field("variables"));
        let (validations, annotations) = (spec.field("validations"), spec.field("auditAnnotations"));
        if validations.is_empty() && annotations.is_empty() {
            validations.required(ITEMS);
            annotations.required(ITEMS);
        }
        for one in validations.items() {
            blank(&one.field("expression"), "expression is not specified");
            let (said, message) = (one.field("messageExpression"), one.field("message"));
            for text in [said, message.clone()] {
                if !text.is_empty() && text.text().trim().is_empty() {
                    text.invalid("must be non-empty if specified");
                }
            }
            if message.text().trim().contains(['\n', '\r']) {
                message.invalid("must not contain line breaks");
            }
            let reasons = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
            if one.get("reason") != "Unauthorized" {
                one.field("reason").maybe_one_of(reasons);
            }
        }
        audit_annotations(object.name(), &annotations);
    });
}

/// A policy writes so many annotations at most (upstream's limit), each from an expression of at most so many bytes.
const ANNOTATIONS_AT_MOST: usize = 20;
const ANNOTATION_BYTES_AT_MOST: usize = 5 * 1024;

fn audit_annotations(policy: &str, at: &At<'_>) {
    if at.len() > ANNOTATIONS_AT_MOST {
        at.too_many(ANNOTATIONS_AT_MOST);
    }
    let mut seen: Vec<&str> = Vec::new();
    for annotation in at.items() {
        let (key, value) = (annotation.field("key"), annotation.field("valueExpression"));
        match policy {
            "" => key.invalid("requires metadata.name be non-empty"),
            policy => {
                let whole = format!("{policy}/{}", key.text());
                names::qualified_name(&whole).iter().for_each(|why| key.invalid_text(&whole, why));
            }
        }
        match value.text().trim().len() {
            0 => value.required("valueExpression is not specified"),
            1..=ANNOTATION_BYTES_AT_MOST => {}
            _ => value.required(&format!("must not exceed {ANNOTATION_BYTES_AT_MOST} bytes in length")),
        }
        if seen.contains(&key.text()) {
            key.duplicate();
        }
        seen.push(key.text());
    }
}

fn variables(at: &At<'_>) {
    for variable in at.items() {
        let name = variable.field("name");
        match name.text() {
            text if text.trim().is_empty() => name.required("name is not specified"),
            text if !is_identifier(text) => name.invalid("must be a valid CEL identifier"),
            _ => {}
        }
        blank(&variable.field("expression"), "expression is not specified");
    }
}

/// Whether an expression can name it.
fn is_identifier(text: &str) -> bool {
    const WORDS: &[&str] = &["false", "in", "null", "true"];
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !WORDS.contains(&text)
}

fn mutation(at: &At<'_>) {
    let (apply, patch) = (at.field("applyConfiguration"), at.field("jsonPatch"));
    let kind = at.field("patchType");
    let (own, other) = match kind.text() {
        "" => return kind.required(""),
        "ApplyConfiguration" => (apply, patch),
        "JSONPatch" => (patch, apply),
        _ => return kind.unsupported(&["ApplyConfiguration", "JSONPatch"]),
    };
    match own.is() {
        true => blank(&own.field("expression"), ""),
        false => own.required(&format!("must be specified when patchType is {}", kind.text())),
    }
    if other.is() {
        let name = other.path.rsplit('.').next().unwrap_or("");
        other.invalid_text(&format!("{{{name}}}"), &format!("must not be specified when patchType is {}", kind.text()));
    }
}

pub(in crate::kinds) fn mutating_policy(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        policy(&spec);
        mutable(&spec.field("matchConstraints"));
        let mutations = spec.field("mutations");
        if mutations.is_empty() {
            mutations.required("mutations must contain at least one item");
        }
        mutations.items().for_each(|one| mutation(&one));
        variables(&spec.field("variables"));
        let again = spec.field("reinvocationPolicy");
        match again.text() {
            "" => again.required(""),
            _ => again.one_of(&["IfNeeded", "Never"]),
        }
    });
}

/// What is said of the expressions of a policy.
pub(in crate::kinds) fn policy_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    status_updated(new, old, c, out, |status| {
        for warning in status.fields(&["typeChecking", "expressionWarnings"]).items() {
            warning.field("warning").not_empty();
            blank(&warning.field("fieldRef"), "");
        }
        super::conditions::conditions(&status.field("conditions"));
    });
}
