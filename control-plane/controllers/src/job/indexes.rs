//! Completed indexes as text: `0,2-4`.

use std::collections::BTreeSet;

pub(super) fn parse(text: &str) -> BTreeSet<i32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<i32>().ok()?..=last.trim().parse::<i32>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

pub(super) fn format(indexes: &BTreeSet<i32>) -> Option<String> {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let text = ranges.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    Some(text.collect::<Vec<_>>().join(",")).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_and_back() {
        for text in ["0", "0,1", "0-2", "1,3-5,7,8"] {
            assert_eq!(super::format(&super::parse(text)).as_deref(), Some(text));
        }
        assert_eq!(super::format(&super::parse("")), None);
    }
}
