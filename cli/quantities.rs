//! Lengths of time and sizes, as the command line and `coresift.toml` write them.

use std::{str::FromStr, time::Duration};

/// A length of time on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DurationArg(pub(crate) Duration);

impl FromStr for DurationArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number and a unit: `30s`, `10m`, `2h`, `7d`".to_owned();
        let (number, unit) = amount(text).ok_or_else(wrong)?;
        let seconds = match unit.as_str() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "" if number == 0.0 => 1.0,
            _ => return Err(wrong()),
        };
        Duration::try_from_secs_f64(number * seconds).map(Self).map_err(|_| wrong())
    }
}

/// A number of bytes on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number and a unit: `500MB`, `10GB`, `2GiB`".to_owned();
        let (number, unit) = amount(text).ok_or_else(wrong)?;
        let bytes = match unit.as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "kib" => 1_024.0,
            "mib" => 1_048_576.0,
            "gib" => 1_073_741_824.0,
            "tib" => 1_099_511_627_776.0,
            _ => return Err(wrong()),
        };
        Ok(Self((number * bytes) as u64))
    }
}

/// Returns a number, not negative, and the lowercase unit behind it.
fn amount(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        let seconds = |text: &str| text.parse::<DurationArg>().map(|span| span.0.as_secs_f64());
        assert_eq!(seconds("1.5h"), Ok(5_400.0));
        assert_eq!(seconds("0"), Ok(0.0));
        assert_eq!(seconds("10 min"), Ok(600.0));
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(size("10GB"), Ok(10_000_000_000));
        assert_eq!(size("1.5 KiB"), Ok(1_536));
        assert_eq!(size("7"), Ok(7));
        for wrong in ["", "h", "-1h", "5", "1e3s", "1.2.3s", "1w"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(size("10 elephants").is_err());
    }
}
