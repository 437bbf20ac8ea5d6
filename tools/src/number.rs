//! Numbers on the command line and in reports.

/// Reads a number within bounds, for clap; what it says completes "invalid value 'x' for '--option':".
pub(crate) fn within<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
    number.ok_or_else(|| format!("write a number from {MIN} to {MAX}"))
}

/// With a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of things.
pub(crate) fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::{counted, grouped, within};

    #[test]
    fn a_number_is_within_its_bounds_or_refused_with_them() {
        assert_eq!((within::<2, 16>("2"), within::<2, 16>("16")), (Ok(2), Ok(16)));
        for bad in ["1", "17", "-3", "x", "", "99999999999999999999999"] {
            assert_eq!(within::<2, 16>(bad), Err("write a number from 2 to 16".into()), "{bad}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(
            (counted(1, "topic", "topics"), counted(1200, "topic", "topics")),
            ("1 topic".into(), "1,200 topics".into())
        );
    }
}
