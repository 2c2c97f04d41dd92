//! When a CronJob is due.

use std::time::Duration;

use api::cron::{self, Schedule};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJobSpec;

/// More missed times than this are told of.
const MANY: i64 = 100;
/// A little after the time itself, so that it has surely come: upstream's delay.
const AFTER: SignedDuration = SignedDuration::from_millis(100);
/// A machine that slept, or whose clock was set, is noticed within this time.
const WAIT_MOST: Duration = Duration::from_secs(600);

/// A schedule in its time zone, which is the machine's unless the CronJob names one.
pub(super) struct Times {
    schedule: Schedule,
    zone: TimeZone,
}

pub(super) enum Due {
    NotYet,
    At {
        time: Timestamp,
        many_missed: bool,
    },
    /// The schedule never comes true.
    Never,
}

impl Times {
    /// # Errors
    /// Reason and message of the event that says what is wrong.
    pub(super) fn of(spec: &CronJobSpec, local: &TimeZone) -> Result<Times, (&'static str, String)> {
        let zone = match &spec.time_zone {
            Some(name) => {
                cron::zone(name).map_err(|why| ("UnknownTimeZone", format!("invalid timeZone: {name:?}: {why}")))?
            }
            None => local.clone(),
        };
        let text = &spec.schedule;
        let wrong = |why| ("UnparseableSchedule", format!("unparseable schedule: {text:?} : {why}"));
        Ok(Times { schedule: Schedule::parse(text).map_err(wrong)?, zone })
    }

    /// The newest time that has come since the last one that was served.
    pub(super) fn due(&self, spec: &CronJobSpec, since: Timestamp, now: Timestamp) -> Due {
        let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        let earliest = deadline.and_then(|deadline| now.checked_sub(deadline).ok());
        let since = earliest.map_or(since, |earliest| earliest.max(since));
        let Some(first) = self.schedule.next(since, &self.zone) else { return Due::Never };
        let newest = if first <= now { self.schedule.last(since, now, &self.zone) } else { None };
        let Some(time) = newest else { return Due::NotYet };
        let gap = self.schedule.next(first, &self.zone).map_or(i64::MAX, |next| next.duration_since(first).as_secs());
        let missed = now.duration_since(first).as_secs() / gap.max(1) + 1;
        Due::At { time, many_missed: missed > MANY }
    }

    /// How long until the next time. One that repeats by a period counts it from the last.
    pub(super) fn wait(&self, since: Timestamp, now: Timestamp) -> Option<Duration> {
        let base = self.schedule.last(since, now, &self.zone).unwrap_or(since);
        let next = self.schedule.next(base, &self.zone)?;
        let left = next.checked_add(AFTER).ok()?.duration_since(now);
        Some(Duration::try_from(left).unwrap_or_default().min(WAIT_MOST))
    }

    /// A time as the zone shows it.
    pub(super) fn shown(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned(self.zone.clone());
        match zoned.offset().is_zero() {
            true => zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            false => zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_in_the_machines_zone_unless_it_names_one() {
        let berlin = cron::zone("Europe/Berlin").unwrap();
        let due = |zone: Option<&str>| {
            let time_zone = zone.map(str::to_owned);
            let spec = CronJobSpec { schedule: "0 9 * * *".to_owned(), time_zone, ..CronJobSpec::default() };
            let at = |text: &str| text.parse::<Timestamp>().unwrap();
            match Times::of(&spec, &berlin).ok().unwrap().due(
                &spec,
                at("2026-07-01T00:00:00Z"),
                at("2026-07-01T12:00:00Z"),
            ) {
                Due::At { time, .. } => time.to_string(),
                Due::NotYet | Due::Never => String::new(),
            }
        };
        assert_eq!(due(None), "2026-07-01T07:00:00Z");
        assert_eq!(due(Some("Etc/UTC")), "2026-07-01T09:00:00Z");
    }
}
