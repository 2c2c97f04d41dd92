//! What of a container's log is asked for, as a query says it. Nothing but text comes in, and a fuzz target is made of this
//! file alone.

use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub follow: bool,
    pub timestamps: bool,
    pub tail: Option<usize>,
    pub since: Option<Timestamp>,
    pub limit_bytes: Option<u64>,
    /// `Stdout` or `Stderr` alone.
    pub stderr: Option<bool>,
}

pub fn flag(query: &HashMap<String, String>, name: &str) -> bool {
    query.get(name).is_some_and(|v| matches!(v.as_str(), "true" | "1" | ""))
}

/// The words of a query, or what is wrong with them.
pub fn options(query: &HashMap<String, String>, now: Timestamp) -> Result<Options, String> {
    let number = |name: &str| -> Result<Option<u64>, String> {
        let given = query.get(name).filter(|v| !v.is_empty());
        given.map(|v| v.parse().map_err(|_| format!("{name}: {v:?} is no number"))).transpose()
    };
    let since = match (number("sinceSeconds")?, query.get("sinceTime").filter(|v| !v.is_empty())) {
        (Some(seconds), _) => {
            let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(now.checked_sub(span).unwrap_or(Timestamp::MIN))
        }
        (None, Some(text)) => Some(text.parse().map_err(|_| format!("sinceTime: {text:?} is no time"))?),
        (None, None) => None,
    };
    Ok(Options {
        follow: flag(query, "follow"),
        timestamps: flag(query, "timestamps"),
        tail: number("tailLines")?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        since,
        limit_bytes: number("limitBytes")?,
        stderr: match query.get("stream").map(String::as_str) {
            Some("Stdout") => Some(false),
            Some("Stderr") => Some(true),
            Some(_) | None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_parsed_or_refused() {
        let query = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let some = options(&query(&[("follow", "true"), ("tailLines", "5"), ("sinceSeconds", "60")]), now).unwrap();
        let since = "2026-01-01T00:00:00Z".parse().ok();
        assert_eq!(some, Options { follow: true, tail: Some(5), since, ..Options::default() });
        for bad in [("tailLines", "-1"), ("sinceTime", "yesterday"), ("limitBytes", "x")] {
            assert!(options(&query(&[bad]), now).is_err(), "{bad:?}");
        }
    }
}
