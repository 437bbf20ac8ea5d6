//! Tokens of a line: cut out of one, and written so that they can be cut out again.

use std::borrow::Cow;

/// One token of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token<'a> {
    /// What it says, without quotes and escapes.
    pub bytes: Cow<'a, [u8]>,
    /// Whether it was written in quotes: `"*"` is a topic of that name, `*` is all topics.
    pub quoted: bool,
}

impl Token<'_> {
    /// Whether this is the wildcard.
    #[must_use]
    pub fn is_star(&self) -> bool {
        !self.quoted && *self.bytes == *b"*"
    }
}

/// Why a quoted token could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// No closing quote.
    #[error("a quoted token has no closing quote")]
    Unclosed,
    /// An unknown escape.
    #[error(r#"a quoted token has an unknown escape; known are \" \\ \n \r \t \xNN"#)]
    Escape,
    /// Something other than a space behind the closing quote.
    #[error("a closing quote is not followed by a space")]
    Glued,
}

/// Cuts a line into tokens.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// Of a line without its end.
    #[must_use]
    pub fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// The next token, or `None` at the end of the line.
    ///
    /// # Errors
    /// The token is quoted and not well-formed. What follows it is lost.
    pub fn token(&mut self) -> Result<Option<Token<'a>>, QuoteError> {
        self.skip_spaces();
        match self.rest.first() {
            None => Ok(None),
            Some(b'"') => Ok(Some(Token { bytes: self.quoted()?, quoted: true })),
            Some(_) => {
                let end = self.rest.iter().position(|&byte| byte == b' ').unwrap_or(self.rest.len());
                let (token, rest) = self.rest.split_at(end);
                self.rest = rest;
                Ok(Some(Token { bytes: Cow::Borrowed(token), quoted: false }))
            }
        }
    }

    /// The rest of the line as it stands, or one quoted token if it starts with a quote.
    ///
    /// # Errors
    /// It starts with a quote and is not exactly one well-formed token.
    pub fn rest(mut self) -> Result<Cow<'a, [u8]>, QuoteError> {
        self.skip_spaces();
        if self.rest.first() != Some(&b'"') {
            return Ok(Cow::Borrowed(self.rest));
        }
        let token = self.quoted()?;
        if self.at_end() { Ok(token) } else { Err(QuoteError::Glued) }
    }

    /// Whether nothing but spaces is left.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.rest.iter().all(|&byte| byte == b' ')
    }

    fn skip_spaces(&mut self) {
        let start = self.rest.iter().position(|&byte| byte != b' ').unwrap_or(self.rest.len());
        self.rest = &self.rest[start..];
    }

    /// Reads a quoted token; `rest` starts with its opening quote.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, QuoteError> {
        let body = &self.rest[1..];
        let plain =
            body.iter().position(|&byte| byte == b'"' || byte == b'\\').ok_or(QuoteError::Unclosed)?;
        let (token, after) = if body[plain] == b'"' {
            (Cow::Borrowed(&body[..plain]), &body[plain + 1..])
        } else {
            let (token, after) = unescape(body)?;
            (Cow::Owned(token), after)
        };
        self.rest = after;
        if matches!(after.first(), None | Some(b' ')) { Ok(token) } else { Err(QuoteError::Glued) }
    }
}

/// Reads up to the closing quote; returns what was read and what is behind the quote.
fn unescape(body: &[u8]) -> Result<(Vec<u8>, &[u8]), QuoteError> {
    let mut token = Vec::with_capacity(body.len());
    let mut rest = body;
    loop {
        rest = match rest {
            [] => return Err(QuoteError::Unclosed),
            [b'"', after @ ..] => return Ok((token, after)),
            [b'\\', after @ ..] => {
                let (byte, after) = escape(after)?;
                token.push(byte);
                after
            }
            [byte, after @ ..] => {
                token.push(*byte);
                after
            }
        };
    }
}

/// Reads what follows a backslash.
fn escape(rest: &[u8]) -> Result<(u8, &[u8]), QuoteError> {
    match rest {
        [] => Err(QuoteError::Unclosed),
        [b'n', after @ ..] => Ok((b'\n', after)),
        [b'r', after @ ..] => Ok((b'\r', after)),
        [b't', after @ ..] => Ok((b'\t', after)),
        [byte @ (b'"' | b'\\'), after @ ..] => Ok((*byte, after)),
        [b'x', high, low, after @ ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => Ok((high << 4 | low, after)),
            _ => Err(QuoteError::Escape),
        },
        _ => Err(QuoteError::Escape),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Appends `token` to a line under construction, in quotes if it would not read back without them.
pub fn push_token(line: &mut Vec<u8>, token: &[u8]) {
    if is_plain(token) {
        line.extend_from_slice(token);
        return;
    }
    line.push(b'"');
    for chunk in token.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => line.extend_from_slice(br#"\""#),
                '\\' => line.extend_from_slice(br"\\"),
                '\n' => line.extend_from_slice(br"\n"),
                '\r' => line.extend_from_slice(br"\r"),
                '\t' => line.extend_from_slice(br"\t"),
                _ => {
                    let mut utf8 = [0; 4];
                    let utf8 = character.encode_utf8(&mut utf8).as_bytes();
                    if character.is_control() {
                        push_hex(line, utf8);
                    } else {
                        line.extend_from_slice(utf8);
                    }
                }
            }
        }
        push_hex(line, chunk.invalid());
    }
    line.push(b'"');
}

fn push_hex(line: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        line.extend_from_slice(br"\x");
        line.push(DIGITS[usize::from(byte >> 4)]);
        line.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Whether the token reads back as it stands, and shows on a terminal as it is.
fn is_plain(token: &[u8]) -> bool {
    if token.is_empty() || token == b"*" {
        return false;
    }
    // Nearly every token is printable ASCII; only the others are worth decoding.
    if token.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        return true;
    }
    str::from_utf8(token).is_ok_and(|text| {
        !text.chars().any(|character| matches!(character, ' ' | '"' | '\\') || character.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(line: &[u8]) -> Result<Vec<Vec<u8>>, QuoteError> {
        let mut tokens = Tokens::new(line);
        let mut found = Vec::new();
        while let Some(token) = tokens.token()? {
            found.push(token.bytes.into_owned());
        }
        Ok(found)
    }

    #[test]
    fn tokens_are_cut_at_spaces_and_quotes_hold_anything() {
        assert_eq!(tokens(b"  a  bc ").unwrap(), [b"a".to_vec(), b"bc".to_vec()]);
        assert_eq!(tokens(br#"LIST "room 1" x"y"#).unwrap(), [&b"LIST"[..], b"room 1", br#"x"y"#]);
        assert_eq!(tokens(br#""\"\\\n\r\t\x00\xfF""#).unwrap(), [b"\"\\\n\r\t\x00\xff"]);
        assert_eq!(tokens(br#""""#).unwrap(), [b""]);
        assert_eq!(tokens(b"").unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_is_quoted_badly_is_refused() {
        assert_eq!(tokens(br#""room"#), Err(QuoteError::Unclosed));
        assert_eq!(tokens(br#""room\"#), Err(QuoteError::Unclosed));
        assert_eq!(tokens(br#""\q""#), Err(QuoteError::Escape));
        assert_eq!(tokens(br#""\x1""#), Err(QuoteError::Escape));
        assert_eq!(tokens(br#""\xg1""#), Err(QuoteError::Escape));
        assert_eq!(tokens(br#""a"b"#), Err(QuoteError::Glued));
    }

    #[test]
    fn the_rest_is_verbatim_unless_it_is_quoted() {
        assert_eq!(*Tokens::new(b"  in a meeting ").rest().unwrap(), *b"in a meeting ");
        assert_eq!(*Tokens::new(br#"{"a": 1}"#).rest().unwrap(), *br#"{"a": 1}"#);
        assert_eq!(*Tokens::new(br#"" a\n" "#).rest().unwrap(), *b" a\n");
        assert_eq!(*Tokens::new(b"").rest().unwrap(), *b"");
        assert_eq!(Tokens::new(br#""a" b"#).rest(), Err(QuoteError::Glued));
    }

    #[test]
    fn every_token_reads_back_as_it_was_written() {
        // All bytes, alone and in company that changes how they decode: halves of UTF-8 sequences among them.
        let company: [&[u8]; 6] = [b"", b" ", b"a", b"\"", "é".as_bytes(), b"\xe2\x82"];
        for byte in 0..=255_u8 {
            for before in company {
                for after in company {
                    let token = [before, &[byte], after].concat();
                    let mut line = Vec::new();
                    push_token(&mut line, &token);
                    assert!(!line.contains(&b'\n') && str::from_utf8(&line).is_ok(), "{line:?}");
                    assert_eq!(tokens(&line).unwrap(), [token], "{line:?}");
                }
            }
        }
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        let written = |token: &[u8]| {
            let mut line = Vec::new();
            push_token(&mut line, token);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(written(b"room:1"), "room:1");
        assert_eq!(written("Zoë".as_bytes()), "Zoë");
        assert_eq!(written(b""), r#""""#);
        assert_eq!(written(b"*"), r#""*""#);
        assert_eq!(written(b"a b"), r#""a b""#);
        assert_eq!(written(b"\x1b[2J\xff"), r#""\x1b[2J\xff""#);
        assert_eq!(written("\u{85}".as_bytes()), r#""\xc2\x85""#);
    }
}
