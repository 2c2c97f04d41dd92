//! Quantities and durations, as data.

use api::quantity::{Format, Quantity};
use api::table::human_duration;

#[test]
fn quantities_are_printed_canonically() {
    let cases = [
        ("0", "0"),
        ("0.0Gi", "0"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("0.5", "500m"),
        ("100000", "100k"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e5", "1200e3"),
        ("1024", "1024"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("100Ki", "100Ki"),
        ("0.1Ki", "102400m"),
        ("1000Ki", "1000Ki"),
        ("-1.5", "-1500m"),
        ("+1", "1"),
        (".5", "500m"),
        ("5.", "5"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("1u", "1u"),
        ("1000000n", "1m"),
        ("1E", "1E"),
        ("007", "7"),
        ("1e-3", "1e-3"),
        ("9223372036854775807", "9223372036854775807"),
    ];
    for (text, expected) in cases {
        let quantity = Quantity::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(quantity.to_string(), expected, "{text}");
        assert_eq!(Quantity::parse(expected).expect("what was printed"), quantity, "{text}");
    }
}

#[test]
fn quantities_are_refused_in_upstreams_words() {
    let format = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let suffix = "unable to parse quantity's suffix";
    for (text, expected) in [
        ("", format),
        ("x", format),
        ("-", format),
        ("1x", format),
        ("1 Gi", format),
        ("1gi", format),
        ("1MB", format),
        ("1.2.3", format),
        ("1mi", suffix),
        ("1EE", suffix),
    ] {
        assert_eq!(Quantity::parse(text).expect_err(text).to_string(), expected, "{text}");
    }
}

#[test]
fn quantities_compare_add_and_round() {
    let q = |t: &str| Quantity::parse(t).expect(t);
    assert_eq!(q("1"), q("1000m"));
    assert_eq!(q("1Ki"), q("1024"));
    assert!(q("1G") < q("1Gi") && q("-1") < q("0"));
    assert_eq!(q("1Gi").add(q("512Mi")).to_string(), "1536Mi");
    assert_eq!(q("0").add(q("1Gi")).format(), Format::BinarySi);
    assert_eq!(q("1").sub(q("250m")).to_string(), "750m");
    assert_eq!((q("1m").value(), q("1001m").value(), q("-1m").value()), (1, 2, -1));
    assert_eq!((q("1u").milli(), q("2").milli()), (1, 2000));
    assert_eq!(q("99999999999999999999").value(), i64::MAX);
}

#[test]
fn durations_get_shorter_as_they_get_longer() {
    let cases = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_100, "3h5m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_200, "8d"),
        (63_072_000, "2y"),
        (64_000_000, "2y10d"),
        (252_288_000, "8y"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(human_duration(seconds), expected, "{seconds}");
    }
}
