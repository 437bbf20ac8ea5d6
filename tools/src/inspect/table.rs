//! Entries as lines for people.

use headcount_net::admin::{EntryRow, Text};
use headcount_tools::line::push_token;

/// What heads the lines of entries.
pub(super) const HEADING: &str =
    "KEY              NODE         SESSION  HEARD     REF                                 META\n";

/// Bytes as the line protocol writes them: quoted, with escapes, if they would not read as one word.
pub(super) fn shown(text: &Text) -> String {
    let mut line = Vec::new();
    push_token(&mut line, &text.to_bytes().unwrap_or_default());
    String::from_utf8_lossy(&line).into_owned()
}

/// How long ago something was heard.
pub(super) fn age(ms: Option<u64>) -> String {
    match ms {
        None => "here".to_owned(),
        Some(ms @ 0..60_000) => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
        Some(ms) => format!("{} min", ms / 60_000),
    }
}

/// An entry, in the columns of [`HEADING`].
pub(super) fn entry(row: &EntryRow) -> String {
    let session = row.session.map_or_else(|| "-".to_owned(), |session| session.to_string());
    let node = shown(&Text::Utf8(row.node.clone()));
    let (key, heard, meta) = (shown(&row.key), age(row.heard_ms), shown(&row.meta));
    format!("{key:<16} {node:<12} {session:<8} {heard:<9} {:<35} {meta}\n", row.entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_escaped_and_ages_are_short() {
        assert_eq!(shown(&Text::from(&b"alice"[..])), "alice");
        assert_eq!(shown(&Text::from(&b"two words"[..])), r#""two words""#);
        assert_eq!(shown(&Text::from(&b"a\xff"[..])), r#""a\xff""#);
        assert_eq!(shown(&Text::from(&b"\x1b[2J\n"[..])), r#""\x1b[2J\n""#);
        assert_eq!(
            (age(None), age(Some(45)), age(Some(59_999))),
            ("here".into(), "0.04 s".into(), "59.99 s".into())
        );
        assert_eq!(age(Some(125_000)), "2 min");
    }
}
