//! RFC 3339 times as Go reads and prints them.

/// Brings a time into the form it is stored in: UTC with seconds, or with microseconds.
///
/// # Errors
/// Go's message for text that is no RFC 3339 time.
pub(super) fn normalize(text: &str, micro: bool) -> Result<String, String> {
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    check(text, layout)?;
    let fail = || format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"");
    let time: jiff::Timestamp = text.parse().map_err(|_| fail())?;
    let utc = time.to_zoned(jiff::tz::TimeZone::UTC);
    let format = if micro { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    jiff::fmt::strtime::format(format, &utc).map_err(|_| fail())
}

/// Walks the text along the layout and names the first element that does not fit.
fn check(text: &str, layout: &str) -> Result<(), String> {
    const ELEMENTS: [(&str, usize, u32, &str); 11] = [
        ("2006", 4, 9999, ""),
        ("-", 0, 0, ""),
        ("01", 2, 12, "month"),
        ("-", 0, 0, ""),
        ("02", 2, 31, "day"),
        ("T", 0, 0, ""),
        ("15", 2, 23, "hour"),
        (":", 0, 0, ""),
        ("04", 2, 59, "minute"),
        (":", 0, 0, ""),
        ("05", 2, 59, "second"),
    ];
    let mut rest = text;
    for (element, digits, max, what) in ELEMENTS {
        let fail = || Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"));
        if digits == 0 {
            match rest.strip_prefix(element) {
                Some(after) => rest = after,
                None => return fail(),
            }
            continue;
        }
        match rest.split_at_checked(digits).filter(|(d, _)| d.bytes().all(|b| b.is_ascii_digit())) {
            Some((value, after)) => {
                let value: u32 = value.parse().unwrap_or(0);
                if value > max || (value == 0 && matches!(what, "month" | "day")) {
                    return Err(format!("parsing time {text:?}: {what} out of range"));
                }
                rest = after;
            }
            None => return fail(),
        }
    }
    zone(text, rest, layout)
}

/// Microseconds are written out in full.
const MICRO_DIGITS: usize = 6;

fn zone(text: &str, rest: &str, layout: &str) -> Result<(), String> {
    let fail = |rest: &str, element: &str| {
        Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"))
    };
    let after = match rest.strip_prefix(['.', ',']) {
        Some(fraction) if layout.contains(".0") => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if digits < MICRO_DIGITS {
                return fail(rest, ".000000");
            }
            &fraction[MICRO_DIGITS..]
        }
        Some(fraction) if fraction.starts_with(|c: char| c.is_ascii_digit()) => {
            fraction.trim_start_matches(|c: char| c.is_ascii_digit())
        }
        None if layout.contains(".0") => return fail(rest, ".000000"),
        _ => rest,
    };
    if after == "Z" {
        return Ok(());
    }
    let bytes = after.as_bytes();
    let shape = bytes.len() >= 6
        && matches!(bytes[0], b'+' | b'-')
        && bytes[3] == b':'
        && [1, 2, 4, 5].iter().all(|i| bytes[*i].is_ascii_digit());
    match (shape, after.starts_with('Z')) {
        (true, _) if bytes.len() == 6 => Ok(()),
        (true, _) => Err(format!("parsing time {text:?}: extra text: {:?}", after.get(6..).unwrap_or(""))),
        (_, true) => Err(format!("parsing time {text:?}: extra text: {:?}", &after[1..])),
        _ => fail(after, "Z07:00"),
    }
}
