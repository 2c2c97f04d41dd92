//! Durations as `kubectl get` prints them: two units at most, fewer the longer they are.

use crate::value::Value;

/// How long ago an RFC 3339 time was, or `<unknown>`.
pub fn age(time: &str, now: i64) -> Value {
    match seconds(time) {
        Some(then) => Value::from(human_duration(now - then)),
        None => Value::from("<unknown>"),
    }
}

/// Seconds since the epoch of an RFC 3339 time.
pub fn seconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// A duration in seconds: `30s`, `5m10s`, `3h5m`, `2d4h`, `30d`, `2y60d`, `9y`.
pub fn human_duration(seconds: i64) -> String {
    // A clock that is a second behind is no news.
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    if seconds < 60 * 2 {
        return format!("{seconds}s");
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let with = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    if minutes < 10 {
        with(minutes, "m", seconds % 60, "s")
    } else if minutes < 60 * 3 {
        format!("{minutes}m")
    } else if hours < 8 {
        with(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 24 * 8 {
        with(days, "d", hours % 24, "h")
    } else if hours < 24 * 365 * 2 {
        format!("{days}d")
    } else if hours < 24 * 365 * 8 {
        with(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}
