//! Reviews of identity and access: who a token is, who is asking, and what somebody may do.

use super::Call;
use crate::authn::{User, bearer};
use crate::authz::{self, Verdict, rbac::Rule};
use crate::request::RequestInfo;
use crate::resource;
use crate::server::Body;
use api::selector::{FieldSelector, LabelSelector};
use api::status::FieldReason;
use api::{FieldError, Map, Object, Status, Value};
use http::Response;
use std::collections::BTreeMap;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let info = call.info;
    let kind = call.ctx.registry.kind(&info.group, &info.version, &info.resource).ok_or_else(resource::no_route)?;
    let local = info.resource == "localsubjectaccessreviews";
    if local == info.namespace.is_empty() || !info.name.is_empty() {
        return Err(resource::no_route());
    }
    let version = format!("{}/{}", info.group, info.version);
    let mut review = call.object(body, &version, &kind.names.kind, &kind.type_name).await?;
    call.place(&mut review);
    if !matches!(info.resource.as_str(), "selfsubjectreviews" | "selfsubjectrulesreviews") {
        call.own(&kind, &mut review);
    }
    let answered = match info.resource.as_str() {
        "tokenreviews" => token(call, review).await?,
        "selfsubjectreviews" => myself(call, review),
        "selfsubjectrulesreviews" => rules(call, review).await?,
        "selfsubjectaccessreviews" => access(call, review, Some(call.identity.user().clone())).await?,
        "subjectaccessreviews" | "localsubjectaccessreviews" => access(call, review, None).await?,
        _ => return Err(resource::no_route()),
    };
    call.reply(201, answered)
}

fn texts(list: &[String]) -> Value {
    Value::List(list.iter().map(|t| Value::from(t.as_str())).collect())
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_list).unwrap_or(&[]);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn user_info(user: &User) -> Map {
    let mut map = Map::new();
    for (key, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            map.insert(key, text.as_str());
        }
    }
    if !user.groups.is_empty() {
        map.insert("groups", texts(&user.groups));
    }
    if !user.extra.is_empty() {
        let extra: Map = user.extra.iter().map(|(k, v)| (k.as_str(), texts(v))).collect();
        map.insert("extra", extra);
    }
    map
}

fn myself(call: &Call<'_>, mut review: Object) -> Object {
    // Nothing of what was sent comes back.
    review.0.remove("metadata");
    review.set(&["metadata", "creationTimestamp"], super::now());
    review.set(&["status", "userInfo"], user_info(call.identity.user()));
    review
}

async fn token(call: &Call<'_>, mut review: Object) -> Result<Object, Status> {
    let token = review.str_at(&["spec", "token"]).to_owned();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let mut audiences = strings(review.at(&["spec", "audiences"]));
    if audiences.is_empty() {
        audiences.push(call.ctx.tokens.issuer().to_owned());
    }
    review.0.entry("metadata").make_map();
    if review.at(&["spec", "audiences"]).and_then(Value::as_list).is_some_and(<[Value]>::is_empty) {
        review.unset(&["spec", "audiences"]);
    }
    match bearer::user(call.ctx, &token, &audiences).await? {
        Ok((user, accepted)) => {
            review.set(&["status", "authenticated"], true);
            review.set(&["status", "user"], user_info(&user));
            review.set(&["status", "audiences"], texts(&accepted));
        }
        Err(refusal) => {
            review.set(&["status", "user"], Map::new());
            review.set(&["status", "error"], refusal.to_string());
        }
    }
    Ok(review)
}

/// Answers an access review about `user`, or about whom the review names.
async fn access(call: &Call<'_>, mut review: Object, user: Option<User>) -> Result<Object, Status> {
    let mut errors = Vec::new();
    let subject = user.is_none();
    check(call, &review, subject, &mut errors);
    if !errors.is_empty() {
        // Upstream gives no kind here.
        return Err(Status::invalid(&call.info.group, "", "", &errors));
    }
    let user = user.unwrap_or_else(|| subject_of(&review));
    let request = request_of(&review);
    let Verdict { allowed, reason } = authz::decide(call.ctx, &user, &request).await?;
    review.0.entry("metadata").make_map();
    review.set(&["status", "allowed"], allowed);
    if !reason.is_empty() {
        review.set(&["status", "reason"], reason);
    }
    let ignored: Vec<String> = [("fieldSelector", false), ("labelSelector", true)]
        .into_iter()
        .filter_map(|(key, by_label)| ignored(&review, key, by_label))
        .collect();
    if !ignored.is_empty() {
        let why = if ignored.len() > 1 { format!("[{}]", ignored.join(", ")) } else { ignored.concat() };
        review.set(&["status", "evaluationError"], why);
    }
    Ok(review)
}

fn check(call: &Call<'_>, review: &Object, subject: bool, errors: &mut Vec<FieldError>) {
    let mut invalid = |path: &str, value: &str, why: &str| {
        errors.push(FieldError::new(FieldReason::Invalid, path, format!("Invalid value: {value}: {why}")))
    };
    let given = |key| review.at(&["spec", key]).is_some_and(|v| !v.is_null());
    let (resource, other) = (given("resourceAttributes"), given("nonResourceAttributes"));
    if resource && other {
        let shown = nonresource(review);
        invalid("spec.nonResourceAttributes", &shown, "cannot be specified in combination with resourceAttributes");
    }
    if !resource && !other {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        invalid("spec.resourceAttributes", "null", why);
    }
    if subject && review.str_at(&["spec", "user"]).is_empty() && strings(review.at(&["spec", "groups"])).is_empty() {
        invalid("spec.user", "\"\"", "at least one of user or group must be specified");
    }
    if call.info.resource == "localsubjectaccessreviews" {
        let asked = review.str_at(&["spec", "resourceAttributes", "namespace"]);
        if resource && asked != call.info.namespace {
            invalid("spec.resourceAttributes.namespace", &format!("{asked:?}"), "must match metadata.namespace");
        }
        if other {
            invalid("spec.nonResourceAttributes", &nonresource(review), "disallowed on this kind of request");
        }
    }
    selectors(review, errors);
    let mut invalid = |path: &str, value: &str, why: &str| {
        errors.push(FieldError::new(FieldReason::Invalid, path, format!("Invalid value: {value}: {why}")))
    };
    let meta = review.meta().cloned().unwrap_or_default();
    let mut left = meta.iter().filter(|(k, _)| match k.as_str() {
        "managedFields" => false,
        "namespace" => !call.info.resource.starts_with("local"),
        _ => true,
    });
    if left.next().is_some() {
        let of = api::schema::find("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let why = match call.info.resource.starts_with("local") {
            true => "must be empty except for namespace",
            false => "must be empty",
        };
        invalid("metadata", &api::schema::ordered(Some(&Value::Map(meta.clone())), of), why);
    }
}

/// The selectors of what somebody would list.
fn selectors(review: &Object, errors: &mut Vec<FieldError>) {
    for (key, by_label) in [("fieldSelector", false), ("labelSelector", true)] {
        let path = format!("spec.resourceAttributes.{key}");
        let Some(selector) = review.at(&["spec", "resourceAttributes", key]).filter(|s| !s.is_null()) else { continue };
        let raw = selector.get("rawSelector").and_then(Value::as_str).unwrap_or("");
        let list = selector.get("requirements").and_then(Value::as_list).unwrap_or(&[]);
        if !raw.is_empty() && !list.is_empty() {
            let why = format!("Invalid value: {raw:?}: may not specified at the same time as requirements");
            errors.push(FieldError::new(FieldReason::Invalid, format!("{path}.rawSelector"), why));
        }
        if raw.is_empty() && list.is_empty() {
            let why = format!("Required value: when {path} is specified, requirements or rawSelector is required");
            errors.push(FieldError::new(FieldReason::Required, format!("{path}.requirements"), why));
        }
        for (i, one) in list.iter().enumerate() {
            requirement(one, by_label, &format!("{path}.requirements[{i}]"), errors);
        }
    }
}

/// What is said of a selector that cannot be read and is left out of the decision, in whole or in part.
fn ignored(review: &Object, key: &str, by_label: bool) -> Option<String> {
    let selector = review.at(&["spec", "resourceAttributes", key]).filter(|s| !s.is_null())?;
    let raw = selector.get("rawSelector").and_then(Value::as_str).unwrap_or("");
    let list = selector.get("requirements").and_then(Value::as_list).unwrap_or(&[]);
    let good = |one: &&Value| {
        let values = one.get("values").and_then(Value::as_list).map_or(0, <[Value]>::len);
        match one.get("operator").and_then(Value::as_str).unwrap_or("") {
            "In" | "NotIn" => by_label || values == 1,
            "Exists" | "DoesNotExist" => by_label,
            _ => false,
        }
    };
    let (read, all) = match (raw, by_label) {
        ("", _) => (list.iter().filter(good).count(), list.len()),
        (_, true) => (usize::from(LabelSelector::parse(raw).is_ok()), 1),
        (_, false) => (usize::from(FieldSelector::parse(raw).is_ok()), 1),
    };
    let part = if read == 0 { "" } else { "partially " };
    (read < all).then(|| format!("spec.resourceAttributes.{key} {part}ignored due to parse error"))
}

/// One requirement; what operators there are, newer clients may know better.
fn requirement(one: &Value, by_label: bool, path: &str, errors: &mut Vec<FieldError>) {
    let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or("");
    let mut say = |reason, key: &str, why: String| errors.push(FieldError::new(reason, format!("{path}.{key}"), why));
    let (key, values) = (text("key"), strings(one.get("values")));
    if !by_label && key.is_empty() {
        say(FieldReason::Required, "key", "Required value: must be specified".into());
    }
    match text("operator") {
        "In" | "NotIn" if values.is_empty() => {
            let why = "Required value: must be specified when `operator` is 'In' or 'NotIn'";
            say(FieldReason::Required, "values", why.into());
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            say(FieldReason::Forbidden, "values", why.into());
        }
        _ => {}
    }
    if !by_label {
        return;
    }
    for why in api::names::qualified_name(key) {
        say(FieldReason::Invalid, "key", format!("Invalid value: {key:?}: {why}"));
    }
    for (i, value) in values.iter().enumerate() {
        for why in api::names::label_value(value) {
            say(FieldReason::Invalid, &format!("values[{i}]"), format!("Invalid value: {value:?}: {why}"));
        }
    }
}

/// The attributes as upstream prints them.
fn nonresource(review: &Object) -> String {
    let text = |key: &str| review.str_at(&["spec", "nonResourceAttributes", key]);
    format!("{{\"Path\":{:?},\"Verb\":{:?}}}", text("path"), text("verb"))
}

fn subject_of(review: &Object) -> User {
    let extra = review.at(&["spec", "extra"]).and_then(Value::as_map);
    let extra: BTreeMap<String, Vec<String>> =
        extra.into_iter().flat_map(|m| m.iter()).map(|(k, v)| (k.to_lowercase(), strings(Some(v)))).collect();
    User {
        name: review.str_at(&["spec", "user"]).to_owned(),
        uid: review.str_at(&["spec", "uid"]).to_owned(),
        groups: strings(review.at(&["spec", "groups"])),
        extra,
    }
}

/// The request that a review asks about.
fn request_of(review: &Object) -> RequestInfo {
    let text = |part: &str, key: &str| review.str_at(&["spec", part, key]).to_owned();
    if review.at(&["spec", "resourceAttributes"]).is_none_or(Value::is_null) {
        return RequestInfo {
            verb: text("nonResourceAttributes", "verb"),
            path: text("nonResourceAttributes", "path"),
            ..RequestInfo::default()
        };
    }
    let text = |key: &str| text("resourceAttributes", key);
    RequestInfo {
        is_resource: true,
        verb: text("verb"),
        group: text("group"),
        version: text("version"),
        namespace: text("namespace"),
        resource: text("resource"),
        subresource: text("subresource"),
        name: text("name"),
        field_selector: review.str_at(&["spec", "resourceAttributes", "fieldSelector", "rawSelector"]).to_owned(),
        ..RequestInfo::default()
    }
}

async fn rules(call: &Call<'_>, mut review: Object) -> Result<Object, Status> {
    let namespace = review.str_at(&["spec", "namespace"]).to_owned();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let mut rules = authz::rules_for(call.ctx, call.identity.user(), &namespace).await?;
    rules.sort_by(|a, b| (&a.groups, &a.resources, &a.urls).cmp(&(&b.groups, &b.resources, &b.urls)));
    let (others, resources): (Vec<Rule>, Vec<Rule>) = rules.into_iter().partition(|r| r.resources.is_empty());
    let put = |pairs: &[(&'static str, &Vec<String>)]| -> Value {
        let filled = pairs.iter().filter(|(_, words)| !words.is_empty());
        Value::Map(filled.map(|(key, words)| (*key, texts(words))).collect())
    };
    let resources = resources.iter().map(|r| {
        put(&[("verbs", &r.verbs), ("apiGroups", &r.groups), ("resources", &r.resources), ("resourceNames", &r.names)])
    });
    let others = others.iter().map(|r| put(&[("verbs", &r.verbs), ("nonResourceURLs", &r.urls)]));
    let (resources, others): (Vec<Value>, Vec<Value>) = (resources.collect(), others.collect());
    // Nothing of what was sent comes back.
    review.0.remove("metadata");
    review.0.entry("metadata").make_map();
    review.set(&["spec"], Map::new());
    review.set(&["status", "resourceRules"], Value::List(resources));
    review.set(&["status", "nonResourceRules"], Value::List(others));
    review.set(&["status", "incomplete"], false);
    Ok(review)
}
