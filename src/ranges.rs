//! One range of addresses, or two of different families: `10.96.0.0/16,fd00:10:96::/112`.

use ipnet::IpNet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranges {
    pub first: IpNet,
    pub second: Option<IpNet>,
}

impl From<IpNet> for Ranges {
    fn from(first: IpNet) -> Ranges {
        Ranges { first, second: None }
    }
}

impl Ranges {
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        std::iter::once(self.first).chain(self.second)
    }
}

impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.first)?;
        self.second.map_or(Ok(()), |second| write!(f, ",{second}"))
    }
}

impl std::str::FromStr for Ranges {
    type Err = String;

    fn from_str(text: &str) -> Result<Ranges, String> {
        let parse =
            |text: &str| text.trim().parse::<IpNet>().map_err(|_| format!("{text:?} is no range such as 10.96.0.0/16"));
        let parts: Vec<IpNet> = text.split(',').map(parse).collect::<Result<_, _>>()?;
        match parts[..] {
            [first] => Ok(first.into()),
            [first, second] if first.addr().is_ipv4() != second.addr().is_ipv4() => {
                Ok(Ranges { first, second: Some(second) })
            }
            [_, _] => Err("two ranges are of different families".into()),
            _ => Err("more than two ranges".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ranges_are_of_different_families() {
        let read = |text: &str| text.parse::<Ranges>().map(|ranges| ranges.to_string());
        assert_eq!(read("10.96.0.0/16").unwrap(), "10.96.0.0/16");
        assert_eq!(read("fd00::/112, 10.96.0.0/16").unwrap(), "fd00::/112,10.96.0.0/16");
        for wrong in ["", "10.96.0.0", "10.96.0.0/16,10.97.0.0/16", "10.96.0.0/16,fd00::/112,fd01::/112"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
