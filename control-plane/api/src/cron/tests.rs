use super::*;

fn next(schedule: &str, name: &str, after: &str) -> String {
    let schedule = Schedule::parse(schedule).unwrap();
    let zone = zone(name).unwrap();
    match schedule.next(after.parse().unwrap(), &zone) {
        Some(time) => time.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        None => "never".to_owned(),
    }
}

#[test]
fn the_next_time() {
    let utc = [
        ("*/15 * * * *", "2026-07-09T14:45:00Z", "2026-07-09T15:00:00+00:00"),
        ("*/15 * * * *", "2026-07-09T14:59:59.5Z", "2026-07-09T15:00:00+00:00"),
        ("20-35/15 * * * *", "2026-07-09T14:46:00Z", "2026-07-09T15:20:00+00:00"),
        ("0 0 * feb mon", "2026-07-09T23:35:00Z", "2027-02-01T00:00:00+00:00"),
        ("0 0 1 * *", "2026-12-31T23:59:45Z", "2027-01-01T00:00:00+00:00"),
        ("0 0 29 Feb ?", "2026-07-09T23:35:00Z", "2028-02-29T00:00:00+00:00"),
        ("0 0 31 2 *", "2026-07-09T23:35:00Z", "never"),
        ("30 8/4 * * *", "2026-07-09T12:31:00Z", "2026-07-09T16:30:00+00:00"),
        ("@weekly", "2026-07-09T12:31:00Z", "2026-07-12T00:00:00+00:00"),
        ("@yearly", "2026-07-09T12:31:00Z", "2027-01-01T00:00:00+00:00"),
        ("@every 1h30m10s", "2026-07-09T12:00:00.9Z", "2026-07-09T13:30:10+00:00"),
        ("@every 10ms", "2026-07-09T12:00:00Z", "2026-07-09T12:00:01+00:00"),
        ("0 0 ,5,, * *", "2026-07-09T12:00:00Z", "2026-08-05T00:00:00+00:00"),
        (", * * * *", "2026-07-09T12:00:00Z", "never"),
    ];
    for (schedule, after, expected) in utc {
        assert_eq!(next(schedule, "UTC", after), expected, "{schedule} after {after}");
    }
}

#[test]
fn both_kinds_of_day() {
    // The 13th is a Monday: a restricted date and a restricted weekday are alternatives, a star is none.
    assert_eq!(next("0 0 13 * fri", "UTC", "2026-07-09T00:00:00Z"), "2026-07-10T00:00:00+00:00");
    assert_eq!(next("0 0 13 * *", "UTC", "2026-07-09T00:00:00Z"), "2026-07-13T00:00:00+00:00");
    assert_eq!(next("0 0 */5 * *", "UTC", "2026-07-09T00:00:00Z"), "2026-07-11T00:00:00+00:00");
    assert_eq!(next("0 0 */5 * sun", "UTC", "2026-07-11T00:00:00Z"), "2026-07-12T00:00:00+00:00");
    assert_eq!(next("0 0 */1 * sun", "UTC", "2026-07-07T00:00:00Z"), "2026-07-12T00:00:00+00:00");
}

#[test]
fn clocks_that_are_set() {
    let new_york = [
        // In spring 2:00 is skipped: what was to run then waits for the next day.
        ("0 2 * * *", "2012-03-11T00:00:00-05:00", "2012-03-12T02:00:00-04:00"),
        ("30 * * * *", "2012-03-11T01:30:00-05:00", "2012-03-11T03:30:00-04:00"),
        // In autumn 1:00 comes twice, and so does what is to run then.
        ("0 1 * * *", "2012-11-04T00:00:00-04:00", "2012-11-04T01:00:00-04:00"),
        ("0 1 * * *", "2012-11-04T01:00:00-04:00", "2012-11-04T01:00:00-05:00"),
        ("0 1 * * *", "2012-11-04T01:00:00-05:00", "2012-11-05T01:00:00-05:00"),
    ];
    for (schedule, after, expected) in new_york {
        assert_eq!(next(schedule, "America/New_York", after), expected, "{schedule} after {after}");
    }
    // A day without its midnight.
    assert_eq!(next("0 * * * *", "America/Sao_Paulo", "2018-11-03T23:30:00-03:00"), "2018-11-04T01:00:00-02:00");
    assert_eq!(next("0 9 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z"), "2026-01-01T09:00:00+05:30");
}

#[test]
fn the_last_time() {
    let last = |schedule: &str, from: &str, until: &str| {
        let schedule = Schedule::parse(schedule).unwrap();
        let found = schedule.last(from.parse().unwrap(), until.parse().unwrap(), &TimeZone::UTC);
        found.map_or("never".to_owned(), |time| time.to_string())
    };
    assert_eq!(last("* * * * *", "2000-01-01T00:00:00Z", "2026-01-01T10:10:10Z"), "2026-01-01T10:10:00Z");
    assert_eq!(last("0 0 29 2 *", "2000-01-01T00:00:00Z", "2026-01-01T10:10:10Z"), "2024-02-29T00:00:00Z");
    assert_eq!(last("0 5 * * *", "2026-01-01T05:00:00Z", "2026-01-02T04:59:59Z"), "never");
    assert_eq!(last("0 5 * * *", "2026-01-01T05:00:00Z", "2026-01-02T05:00:00Z"), "2026-01-02T05:00:00Z");
    assert_eq!(last("@every 7m", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"), "2026-01-01T00:56:00Z");
    assert_eq!(last("0 0 31 2 *", "2000-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), "never");
}

#[test]
fn what_is_wrong() {
    let wrong = [
        ("", "empty spec string"),
        ("x", "expected exactly 5 fields, found 1: [x]"),
        ("@never", "unrecognized descriptor: @never"),
        ("@every 1", r#"failed to parse duration @every 1: time: missing unit in duration "1""#),
        ("@every 1d", r#"failed to parse duration @every 1d: time: unknown unit "d" in duration "1d""#),
        ("@every x", r#"failed to parse duration @every x: time: invalid duration "x""#),
        ("a * * * *", r#"failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax"#),
        ("-5 * * * *", r#"failed to parse int from : strconv.Atoi: parsing "": invalid syntax"#),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("*/2/3 * * * *", "too many slashes: */2/3"),
        ("*/-2 * * * *", "negative number (-2) not allowed: -2"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
    ];
    for (text, why) in wrong {
        assert_eq!(Schedule::parse(text).unwrap_err(), why, "{text}");
    }
    for name in ["Nowhere/Here", "europe/berlin", "../etc", ""] {
        assert_eq!(zone(name).unwrap_err(), format!("unknown time zone {name}"));
    }
}

#[test]
fn a_zone_is_said_once() {
    assert!(Schedule::parse("TZ=UTC @daily").is_ok());
    let again = "TZ=UTC ".repeat(100_000) + "* * * * *";
    assert!(Schedule::parse(&again).is_err_and(|why| why.starts_with("expected exactly 5 fields, found 100004: [")));
}
