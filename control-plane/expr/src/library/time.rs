//! Durations and moments. Zone names are looked up in the machine's zone database.

use super::Cost::One;
use super::{Def, args};
use crate::value::{Fail, Out, Val};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// An accessor of moments: in UTC and in a named zone.
macro_rules! part {
    ($name:literal, $zoned:literal, $of:expr) => {
        [
            Def(concat!("timestamp::", $name, "() int"), One, |_, a| {
                args!(a, [Val::Timestamp(t)] => Ok(Val::Int($of(&t.to_zoned(TimeZone::UTC)))))
            }),
            Def(concat!("timestamp::", $zoned, "(string) int"), One, |_, a| {
                args!(a, [Val::Timestamp(t), Val::String(zone)] => Ok(Val::Int($of(&t.to_zoned(zone_of(zone)?)))))
            }),
        ]
    };
}

const YEAR: [Def; 2] = part!("getFullYear", "getFullYear", |t: &Zoned| i64::from(t.year()));
const MONTH: [Def; 2] = part!("getMonth", "getMonth", |t: &Zoned| i64::from(t.month()) - 1);
const YEAR_DAY: [Def; 2] = part!("getDayOfYear", "getDayOfYear", |t: &Zoned| i64::from(t.day_of_year()) - 1);
const MONTH_DAY: [Def; 2] = part!("getDayOfMonth", "getDayOfMonth", |t: &Zoned| i64::from(t.day()) - 1);
const DATE: [Def; 2] = part!("getDate", "getDate", |t: &Zoned| i64::from(t.day()));
const WEEK_DAY: [Def; 2] =
    part!("getDayOfWeek", "getDayOfWeek", |t: &Zoned| i64::from(t.weekday().to_sunday_zero_offset()));
const HOURS: [Def; 2] = part!("getHours", "getHours", |t: &Zoned| i64::from(t.hour()));
const MINUTES: [Def; 2] = part!("getMinutes", "getMinutes", |t: &Zoned| i64::from(t.minute()));
const SECONDS: [Def; 2] = part!("getSeconds", "getSeconds", |t: &Zoned| i64::from(t.second()));
const MILLIS: [Def; 2] = part!("getMilliseconds", "getMilliseconds", |t: &Zoned| i64::from(t.millisecond()));

const NANOS_PER_SECOND: i64 = 1_000_000_000;

pub(super) const DEFS: &[Def] = &{
    let [y0, y1] = YEAR;
    let [m0, m1] = MONTH;
    let [yd0, yd1] = YEAR_DAY;
    let [md0, md1] = MONTH_DAY;
    let [d0, d1] = DATE;
    let [w0, w1] = WEEK_DAY;
    let [h0, h1] = HOURS;
    let [i0, i1] = MINUTES;
    let [s0, s1] = SECONDS;
    let [l0, l1] = MILLIS;
    [
        y0,
        y1,
        m0,
        m1,
        yd0,
        yd1,
        md0,
        md1,
        d0,
        d1,
        w0,
        w1,
        h0,
        h1,
        i0,
        i1,
        s0,
        s1,
        l0,
        l1,
        Def("duration::getHours() int", One, |_, a| whole(a, 3600 * NANOS_PER_SECOND)),
        Def("duration::getMinutes() int", One, |_, a| whole(a, 60 * NANOS_PER_SECOND)),
        Def("duration::getSeconds() int", One, |_, a| whole(a, NANOS_PER_SECOND)),
        Def("duration::getMilliseconds() int", One, |_, a| args!(a, [Val::Duration(n)] => Ok(Val::Int(n / 1_000_000)))),
        Def("duration(duration) duration", One, |_, a| args!(a, [x] => Ok(x.clone()))),
        Def("duration(string) duration", One, |_, a| {
            args!(a, [Val::String(s)] => duration(s).map(Val::Duration).map_err(|()| {
                Fail::new("type conversion error from 'string' to 'google.protobuf.Duration'")
            }))
        }),
        Def("timestamp(timestamp) timestamp", One, |_, a| args!(a, [x] => Ok(x.clone()))),
        Def("timestamp(int) timestamp", One, |_, a| {
            args!(a, [Val::Int(n)] => match Timestamp::from_second(*n) {
                Ok(t) => in_range(t).map(Val::Timestamp),
                Err(_) => Err(Fail::new("timestamp overflow")),
            })
        }),
        Def("timestamp(string) timestamp", One, |_, a| args!(a, [Val::String(s)] => timestamp(s).map(Val::Timestamp))),
    ]
};

fn whole<'a>(args: &[Val<'a>], unit: i64) -> Out<'a> {
    args!(args, [Val::Duration(n)] => Ok(Val::Int(n / unit)))
}

/// `UTC`, a name, or an offset like `+02:30`.
fn zone_of(name: &str) -> Result<TimeZone, Fail> {
    let bad = || Fail::new(format!("unknown time zone {name}"));
    if let Some((hours, minutes)) = name.split_once(':') {
        let h: i32 = hours.parse().map_err(|_| bad())?;
        let m: i32 = minutes.parse().map_err(|_| bad())?;
        let sign = if hours.starts_with('-') { -1 } else { 1 };
        let offset = jiff::tz::Offset::from_seconds(h * 3600 + sign * m * 60).map_err(|_| bad())?;
        return Ok(TimeZone::fixed(offset));
    }
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        name => TimeZone::get(name).map_err(|_| bad()),
    }
}

/// Years 1 to 9999, as CEL has them.
fn in_range(t: Timestamp) -> Result<Timestamp, Fail> {
    match (-62_135_596_800..=253_402_300_799).contains(&t.as_second()) {
        true => Ok(t),
        false => Err(Fail::new("timestamp overflow")),
    }
}

pub(super) fn later<'a>(t: Timestamp, nanos: i64) -> Out<'a> {
    let moved = t.checked_add(SignedDuration::from_nanos(nanos)).map_err(|_| Fail::new("timestamp overflow"))?;
    in_range(moved).map(Val::Timestamp)
}

/// A moment of RFC 3339.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, Fail> {
    let bad = || Fail::new("type conversion error from 'string' to 'google.protobuf.Timestamp'");
    // The library reads more forms than the RFC has.
    let shape = text.len() >= 20 && text.as_bytes()[10].eq_ignore_ascii_case(&b'T') && text.as_bytes()[4] == b'-';
    if !shape {
        return Err(bad());
    }
    text.parse().map_err(|_| bad()).and_then(in_range)
}

/// A day, as the moment at which it begins.
pub(crate) fn date(text: &str) -> Result<Timestamp, Fail> {
    let bad = || Fail::new(format!("Invalid date {text}"));
    let day: Date = text.parse().map_err(|_| bad())?;
    Ok(day.to_zoned(TimeZone::UTC).map_err(|_| bad())?.timestamp())
}

/// Numbers with units, as in `1h30m`, in nanoseconds.
pub(crate) fn duration(text: &str) -> Result<i64, ()> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(());
        }
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let nanos: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(()),
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| ())? };
        total = whole.checked_mul(nanos).and_then(|n| total.checked_add(n)).ok_or(())?;
        // More digits than a nanosecond has say nothing.
        let fraction = &fraction[..fraction.len().min(18)];
        if !fraction.is_empty() {
            let value: i128 = fraction.parse().map_err(|_| ())?;
            total += value * nanos / 10i128.pow(fraction.len() as u32);
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| ())
}

/// In seconds.
pub(crate) fn show_duration(nanos: i64) -> String {
    let magnitude = nanos.unsigned_abs();
    let (seconds, rest) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    let sign = if nanos < 0 { "-" } else { "" };
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

pub(crate) fn show_timestamp(t: Timestamp) -> String {
    t.to_string()
}
