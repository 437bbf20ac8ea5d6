//! The command line, as far as `cargo test` and its users expect one: that of libtest.

/// Flags of libtest that are followed by a value and mean nothing here.
const VALUED_FLAGS: [&str; 7] =
    ["--test-threads", "--format", "--color", "--logfile", "--report-time", "--shuffle-seed", "-Z"];

/// Which tests to run. Flags of libtest that mean nothing here are accepted and ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Args {
    list: bool,
    exact: bool,
    /// Only ignored tests are wanted, and there are none.
    ignored: bool,
    filters: Vec<String>,
    skips: Vec<String>,
}

impl Args {
    /// From the arguments after the program's name.
    #[must_use]
    pub fn parse(args: impl IntoIterator<Item = String>) -> Self {
        let mut parsed = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => parsed.list = true,
                "--exact" => parsed.exact = true,
                "--ignored" => parsed.ignored = true,
                "--skip" => parsed.skips.extend(args.next()),
                flag if VALUED_FLAGS.contains(&flag) => drop(args.next()),
                flag if flag.starts_with('-') => {
                    parsed.skips.extend(flag.strip_prefix("--skip=").map(Into::into))
                }
                _ => parsed.filters.push(arg),
            }
        }
        parsed
    }

    /// Whether the tests are to be listed, not run.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.list
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.ignored && self.filters.is_empty() && self.skips.is_empty()
    }

    /// Whether the test of that name is to be run.
    #[must_use]
    pub fn selects(&self, name: &str) -> bool {
        let fits =
            |pattern: &String| if self.exact { name == pattern } else { name.contains(pattern.as_str()) };
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skips.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Args::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn no_argument_selects_everything() {
        assert!(parse("").is_everything());
        assert!(parse("").selects("bell::ring"));
    }

    #[test]
    fn flags_of_libtest_are_no_filters_and_neither_are_their_values() {
        let args = parse(
            "--nocapture -q --test-threads 4 --format=pretty --color always -Z unstable-options --include-ignored",
        );
        assert_eq!(args, Args::default());
    }

    #[test]
    fn filters_are_parts_of_names_or_whole_ones() {
        assert!(parse("bell").selects("bell::ring"));
        assert!(!parse("bell").selects("change::arm"));
        assert!(!parse("bell --exact").selects("bell::ring"));
        assert!(parse("--exact bell::ring").selects("bell::ring"));
        assert!(!parse("--skip bell").selects("bell::ring"));
        assert!(!parse("--skip=bell").selects("bell::ring"));
        assert!(!parse("--ignored").selects("bell::ring"));
        assert!(!parse("--ignored").is_everything());
    }
}
