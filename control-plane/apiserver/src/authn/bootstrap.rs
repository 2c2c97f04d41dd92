//! Bootstrap tokens: what a machine that is about to become a node shows before it has a certificate.
//!
//! A token `ID.SECRET` is known by the Secret `bootstrap-token-ID` in `kube-system`; deleting that revokes it.

use super::{AUTHENTICATED, User};
use crate::ctx::Ctx;
use crate::lookup;
use api::{Object, Status};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
const ID_CHARS: usize = 6;
const SECRET_CHARS: usize = 16;

/// The two halves of a token that looks like one.
pub(super) fn halves(token: &str) -> Option<(&str, &str)> {
    let good =
        |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    token.split_once('.').filter(|(id, secret)| good(id, ID_CHARS) && good(secret, SECRET_CHARS))
}

/// Whose token it is, if there is a Secret for it that is good now.
pub(super) async fn user(ctx: &Ctx, (id, secret): (&str, &str), now: i64) -> Result<Option<User>, Status> {
    let found = ctx.registry.find(lookup::SECRETS, NAMESPACE, &format!("bootstrap-token-{id}")).await?;
    Ok(found.filter(|object| object.deletion_timestamp().is_none()).and_then(|object| judge(&object, id, secret, now)))
}

fn judge(object: &Object, id: &str, secret: &str, now: i64) -> Option<User> {
    let entry = |key: &str| {
        let bytes = STANDARD.decode(object.str_at(&["data", key])).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    };
    let expiration = entry("expiration");
    let expired =
        !expiration.is_empty() && expiration.parse::<jiff::Timestamp>().map_or(true, |t| t.as_second() <= now);
    let good = object.str_at(&["type"]) == TYPE
        && same(&entry("token-id"), id)
        && same(&entry("token-secret"), secret)
        && !expired
        && entry("usage-bootstrap-authentication") == "true";
    let more = entry("auth-extra-groups");
    let more: Vec<&str> = more.split(',').map(str::trim).filter(|g| !g.is_empty()).collect();
    // A group of any other name would be a way to become somebody else.
    if !good || more.iter().any(|group| !group.starts_with("system:bootstrappers:")) {
        return None;
    }
    let groups = [GROUP].into_iter().chain(more).chain([AUTHENTICATED]).map(str::to_owned).collect();
    Some(User { name: format!("system:bootstrap:{id}"), groups, ..User::default() })
}

/// Compares in a time that does not depend on where the first difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(changes: serde_json::Value) -> Object {
        let mut data = json!({
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
        });
        for (key, value) in changes.as_object().expect("a map") {
            data[key] = value.clone();
        }
        let data: serde_json::Map<String, serde_json::Value> = data
            .as_object()
            .expect("a map")
            .iter()
            .map(|(k, v)| (k.clone(), STANDARD.encode(v.as_str().expect("text")).into()))
            .collect();
        Object::from_typed(&json!({"kind": "Secret", "type": TYPE, "data": data})).expect("an object")
    }

    #[test]
    fn only_the_right_secret_in_its_time_is_believed() {
        let now = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().expect("a time").as_second();
        let cases = [
            (json!({}), Some(2)),
            (json!({"expiration": "2026-01-01T00:00:01Z"}), Some(2)),
            (json!({"expiration": "2026-01-01T00:00:00Z"}), None),
            (json!({"expiration": "tomorrow"}), None),
            (json!({"token-secret": "0123456789abcdeg"}), None),
            (json!({"token-id": "abcdeg"}), None),
            (json!({"usage-bootstrap-authentication": "false"}), None),
            (json!({"auth-extra-groups": "system:bootstrappers:a,system:bootstrappers:b"}), Some(4)),
            (json!({"auth-extra-groups": "system:masters"}), None),
        ];
        for (changes, groups) in cases {
            let user = judge(&secret(changes.clone()), "abcdef", "0123456789abcdef", now);
            assert_eq!(user.map(|u| u.groups.len()), groups, "{changes}");
        }
        let mut other = secret(json!({}));
        other.set(&["type"], "Opaque");
        assert_eq!(judge(&other, "abcdef", "0123456789abcdef", now), None);
    }

    #[test]
    fn a_token_has_two_halves_of_fixed_lengths() {
        assert_eq!(halves("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for other in
            ["", "abcdef", "abcdef.0123456789abcde", "Abcdef.0123456789abcdef", "a.b.c", "abcde.0123456789abcdefg"]
        {
            assert_eq!(halves(other), None, "{other}");
        }
    }
}
