//! Schedules of CronJobs and names of time zones, and the next time that a schedule names.
#![no_main]

use api::cron::{self, Schedule};
use jiff::Timestamp;

libfuzzer_sys::fuzz_target!(|input: (i64, &str, &str)| {
    let (second, schedule, zone) = input;
    let zone = cron::zone(zone).or_else(|_| cron::zone("Europe/Berlin")).expect("a zone");
    if let (Ok(schedule), Ok(now)) = (Schedule::parse(schedule), Timestamp::from_second(second)) {
        assert!(schedule.next(now, &zone).is_none_or(|next| next > now));
    }
});
