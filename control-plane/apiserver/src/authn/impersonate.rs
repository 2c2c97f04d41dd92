//! Acting as somebody else: `Impersonate-User`, `-Group`, `-Uid` and `-Extra-KEY`.
//!
//! The caller needs the verb `impersonate` on each part. Without it, upstream's constrained form (KEP-5284) is asked
//! for: `impersonate-on:MODE:VERB` on what the request is for, and `impersonate:MODE` on each part. The modes
//! `user-info` and `serviceaccount` are known; the node modes are not, so nodes need the verb `impersonate`.

use super::{ANONYMOUS, AUTHENTICATED, Identity, UNAUTHENTICATED, User, bearer};
use crate::authz::{self, Verdict};
use crate::ctx::Ctx;
use crate::request::RequestInfo;
use api::Status;
use http::HeaderMap;

const AUTHENTICATION: &str = "authentication.k8s.io";
const EXTRA_PREFIX: &str = "impersonate-extra-";

/// Applies `Impersonate-*` headers, after asking authz whether the caller may.
pub(super) async fn apply(ctx: &Ctx, parts: &http::request::Parts, identity: Identity) -> Result<Identity, Status> {
    let Some(wanted) = wanted(&parts.headers)? else { return Ok(identity) };
    let request = RequestInfo::parse(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or(""));
    allowed(ctx, identity.user(), &wanted, &request).await?;
    Ok(Identity { user: completed(wanted) })
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = String> + use<'a> {
    let name: http::HeaderName = name.parse().unwrap_or(http::HeaderName::from_static("impersonate-user"));
    headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
}

/// The user that the headers ask for; `None` without such headers.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let mut user = User {
        name: values(headers, "impersonate-user").next().unwrap_or_default(),
        uid: values(headers, "impersonate-uid").next().unwrap_or_default(),
        groups: values(headers, "impersonate-group").collect(),
        ..User::default()
    };
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
            user.extra.entry(key).or_default().extend(values(headers, name.as_str()));
        }
    }
    if user == User::default() {
        return Ok(None);
    }
    match user.name.is_empty() {
        true => Err(Status::bad_request(format!("requested {} without impersonating a user name", go_text(&user)))),
        false => Ok(Some(user)),
    }
}

/// The user as upstream's message prints it.
fn go_text(user: &User) -> String {
    let list = |l: &[String]| l.iter().map(|g| format!("{g:?}")).collect::<Vec<_>>().join(", ");
    let groups = match user.groups.is_empty() {
        true => "[]string(nil)".to_owned(),
        false => format!("[]string{{{}}}", list(&user.groups)),
    };
    let extra = match user.extra.is_empty() {
        true => "map[string][]string(nil)".to_owned(),
        false => {
            let pairs: Vec<String> = user.extra.iter().map(|(k, v)| format!("{k:?}:[]string{{{}}}", list(v))).collect();
            format!("map[string][]string{{{}}}", pairs.join(", "))
        }
    };
    let (name, uid) = (&user.name, &user.uid);
    format!("&user.DefaultInfo{{Name:{name:?}, UID:{uid:?}, Groups:{groups}, Extra:{extra}}}")
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// What the caller must be allowed to impersonate, one request each. `group` is that of users and groups.
fn questions(wanted: &User, verb: &str, group: &str) -> Vec<RequestInfo> {
    let ask = |group: &str, resource: &str, name: &str| RequestInfo {
        is_resource: true,
        verb: verb.to_owned(),
        group: group.to_owned(),
        version: "v1".into(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..RequestInfo::default()
    };
    let mut questions = vec![match service_account(&wanted.name) {
        Some((namespace, name)) => {
            RequestInfo { namespace: namespace.to_owned(), ..ask(group, "serviceaccounts", name) }
        }
        None => ask(group, "users", &wanted.name),
    }];
    questions.extend(wanted.groups.iter().map(|g| ask(group, "groups", g)));
    if !wanted.uid.is_empty() {
        questions.push(ask(AUTHENTICATION, "uids", &wanted.uid));
    }
    for (key, values) in &wanted.extra {
        let ask_value = |v: &String| RequestInfo { subresource: key.clone(), ..ask(AUTHENTICATION, "userextras", v) };
        questions.extend(values.iter().map(ask_value));
    }
    questions
}

async fn all_allowed(ctx: &Ctx, caller: &User, questions: &[RequestInfo]) -> Result<bool, Status> {
    for question in questions {
        if !authz::decide(ctx, caller, question).await?.allowed {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn allowed(ctx: &Ctx, caller: &User, wanted: &User, request: &RequestInfo) -> Result<(), Status> {
    if all_allowed(ctx, caller, &questions(wanted, "impersonate", "")).await? {
        return Ok(());
    }
    let mode = if service_account(&wanted.name).is_some() { "serviceaccount" } else { "user-info" };
    let on = RequestInfo { verb: format!("impersonate-on:{mode}:{}", request.verb), ..request.clone() };
    let Verdict { allowed, reason } = authz::decide(ctx, caller, &on).await?;
    let parts = questions(wanted, &format!("impersonate:{mode}"), AUTHENTICATION);
    if !allowed || wanted.name.starts_with("system:node:") {
        return Err(authz::forbidden(caller, &on, &reason));
    }
    for part in &parts {
        let Verdict { allowed, reason } = authz::decide(ctx, caller, part).await?;
        if !allowed {
            return Err(authz::forbidden(caller, part, &reason));
        }
    }
    Ok(())
}

/// Adds the groups that everybody has.
fn completed(mut user: User) -> User {
    if let Some((namespace, _)) = service_account(&user.name)
        && user.groups.is_empty()
    {
        user.groups = bearer::service_account_groups(namespace);
    }
    let common = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.groups.iter().any(|g| g == AUTHENTICATED || g == UNAUTHENTICATED) {
        user.groups.push(common.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let (name, value) = line.trim().split_once(": ").unwrap();
            headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn headers_become_a_user_with_the_common_groups() {
        let cases = [
            ("Impersonate-User: u", "u", "system:authenticated"),
            ("Impersonate-User: u\nImpersonate-Group: a\nImpersonate-Group: b", "u", "a b system:authenticated"),
            ("Impersonate-User: system:anonymous", "system:anonymous", "system:unauthenticated"),
            (
                "Impersonate-User: system:serviceaccount:n:s",
                "system:serviceaccount:n:s",
                "system:serviceaccounts system:serviceaccounts:n system:authenticated",
            ),
        ];
        for (text, name, groups) in cases {
            let user = completed(wanted(&headers(text)).unwrap().unwrap());
            assert_eq!((user.name.as_str(), user.groups.join(" ").as_str()), (name, groups));
        }
    }

    #[test]
    fn extra_keys_are_decoded_and_need_a_right_of_their_own() {
        let text = "Impersonate-User: u\nImpersonate-Uid: 1\nImpersonate-Extra-Scope: a\nImpersonate-Extra-a%2fb: c";
        let user = wanted(&headers(text)).unwrap().unwrap();
        assert_eq!(user.extra.keys().collect::<Vec<_>>(), ["a/b", "scope"]);
        let asked: Vec<String> = questions(&user, "impersonate", "")
            .iter()
            .map(|q| format!("{}/{}/{}/{}", q.group, q.resource, q.subresource, q.name))
            .collect();
        let expected = [
            "/users//u",
            "authentication.k8s.io/uids//1",
            "authentication.k8s.io/userextras/a/b/c",
            "authentication.k8s.io/userextras/scope/a",
        ];
        assert_eq!(asked, expected);
    }

    #[test]
    fn a_group_without_a_user_is_refused() {
        let status = wanted(&headers("Impersonate-Group: g")).unwrap_err();
        let expected = "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"g\"}, \
                        Extra:map[string][]string(nil)} without impersonating a user name";
        assert_eq!((status.code, status.message.as_str()), (400, expected));
    }
}
