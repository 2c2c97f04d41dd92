//! What happens at the door: who was recognised, who was let in, how long their certificates last.

use super::text::{Histogram, Text};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Upper bounds of the times, in seconds: upstream's.
const SECONDS: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];
const MINUTE: f64 = 60.0;
const DAY: f64 = 24.0 * 60.0 * MINUTE;
/// Of what is left of a certificate, in seconds: upstream's.
const LEFT: [f64; 14] = [
    0.0,
    30.0 * MINUTE,
    60.0 * MINUTE,
    120.0 * MINUTE,
    360.0 * MINUTE,
    720.0 * MINUTE,
    DAY,
    2.0 * DAY,
    4.0 * DAY,
    7.0 * DAY,
    30.0 * DAY,
    90.0 * DAY,
    180.0 * DAY,
    360.0 * DAY,
];

#[derive(Default)]
struct Counted {
    authentication: BTreeMap<&'static str, Histogram>,
    users: BTreeMap<&'static str, u64>,
    authorization: BTreeMap<&'static str, Histogram>,
    certificates: Histogram,
}

#[derive(Default)]
pub(crate) struct Door(Mutex<Counted>);

impl Door {
    /// Somebody said who they are: who it was, where it was true.
    pub(crate) fn authenticated(&self, user: Option<&str>, took: Duration) {
        let result = if user.is_some() { "success" } else { "error" };
        let mut counted = self.0.lock();
        counted.authentication.entry(result).or_default().observe(&SECONDS, took.as_secs_f64());
        if let Some(user) = user {
            *counted.users.entry(label(user)).or_default() += 1;
        }
    }

    pub(crate) fn authorized(&self, is_allowed: bool, took: Duration) {
        let result = if is_allowed { "allowed" } else { "no-opinion" };
        self.0.lock().authorization.entry(result).or_default().observe(&SECONDS, took.as_secs_f64());
    }

    /// Somebody came with a certificate that lasts as long as this.
    pub(crate) fn certificate(&self, left_seconds: i64) {
        self.0.lock().certificates.observe(&LEFT, left_seconds as f64);
    }

    pub(super) fn write(&self, text: &mut Text) {
        let counted = self.0.lock();
        text.family(
            "authenticated_user_requests",
            "counter",
            "[ALPHA] Counter of authenticated requests broken out by username.",
        );
        for (user, count) in &counted.users {
            text.sample("authenticated_user_requests", &format!("username=\"{user}\""), count);
        }
        results(
            text,
            ("authentication_attempts", "[ALPHA] Counter of authenticated attempts."),
            ("authentication_duration_seconds", "[ALPHA] Authentication duration in seconds broken out by result."),
            &counted.authentication,
        );
        results(
            text,
            (
                "authorization_attempts_total",
                "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.",
            ),
            ("authorization_duration_seconds", "[ALPHA] Authorization duration in seconds broken out by result."),
            &counted.authorization,
        );
        const CERTIFICATES: &str = "apiserver_client_certificate_expiration_seconds";
        let help = "[ALPHA] Distribution of the remaining lifetime on the certificate used to authenticate a request.";
        text.family(CERTIFICATES, "histogram", help);
        text.histogram(CERTIFICATES, "", &LEFT, &counted.certificates);
    }
}

type Family = (&'static str, &'static str);

/// How often each result was, and how long it took.
fn results(text: &mut Text, attempts: Family, durations: Family, counted: &BTreeMap<&'static str, Histogram>) {
    text.family(attempts.0, "counter", attempts.1);
    for (result, seconds) in counted {
        text.sample(attempts.0, &format!("result=\"{result}\""), seconds.count());
    }
    text.family(durations.0, "histogram", durations.1);
    for (result, seconds) in counted {
        text.histogram(durations.0, &format!("result=\"{result}\""), &SECONDS, seconds);
    }
}

/// Names without end would make series without end.
fn label(user: &str) -> &'static str {
    const KNOWN: [&str; 5] = ["admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"];
    match KNOWN.into_iter().find(|known| *known == user) {
        Some(known) => known,
        None if user.contains('@') => "email_id",
        None => "other",
    }
}
