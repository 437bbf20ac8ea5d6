//! Requests of the line protocol, read from a line.

use headcount_tools::line::{LINE_LEN_MAX, QuoteError, Token, Tokens, push_token};
use std::borrow::Cow;

type Bytes<'a> = Cow<'a, [u8]>;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Join { topic: Bytes<'a>, key: Bytes<'a>, meta: Bytes<'a> },
    Update { topic: Bytes<'a>, key: Bytes<'a>, meta: Bytes<'a> },
    Leave { topic: Bytes<'a>, key: Bytes<'a> },
    LeaveTopic { topic: Bytes<'a> },
    LeaveAll,
    List { topic: Bytes<'a> },
    Get { topic: Bytes<'a>, key: Bytes<'a> },
    Count { topic: Option<Bytes<'a>> },
    Topics,
    Watch { scope: Scope },
    Unwatch { scope: Scope },
    Nodes,
    Stats,
    Ping,
    Help,
    Quit,
}

/// What a watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Topic(Vec<u8>),
    All,
}

/// An `ERR` reply: nothing was changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn line_too_long() -> Self {
        Self::new("line-too-long", format!("a line may have {LINE_LEN_MAX} bytes; this one is ignored"))
    }
}

impl From<QuoteError> for Refusal {
    fn from(error: QuoteError) -> Self {
        Self::new("bad-quotes", error.to_string())
    }
}

impl<'a> Command<'a> {
    /// Reads a line without its end; `None` if it is empty.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let mut tokens = Tokens::new(line);
        let Some(verb) = tokens.token()? else { return Ok(None) };
        let verb = verb.bytes.to_ascii_uppercase();
        match &verb[..] {
            b"JOIN" => Self::entry(tokens, "JOIN topic key [meta]", |topic, key, meta| Self::Join {
                topic,
                key,
                meta,
            }),
            b"UPDATE" => Self::entry(tokens, "UPDATE topic key [meta]", |topic, key, meta| Self::Update {
                topic,
                key,
                meta,
            }),
            b"LEAVE" => Self::leave(tokens),
            b"LIST" => one(tokens, "LIST topic").map(|topic| Self::List { topic }),
            b"GET" => Self::get(tokens),
            b"COUNT" => Self::count(tokens),
            b"WATCH" => scope(tokens, "WATCH topic, or WATCH *").map(|scope| Self::Watch { scope }),
            b"UNWATCH" => scope(tokens, "UNWATCH topic, or UNWATCH *").map(|scope| Self::Unwatch { scope }),
            b"TOPICS" => end(&tokens, "TOPICS").map(|()| Self::Topics),
            b"NODES" => end(&tokens, "NODES").map(|()| Self::Nodes),
            b"STATS" => end(&tokens, "STATS").map(|()| Self::Stats),
            b"PING" => end(&tokens, "PING").map(|()| Self::Ping),
            b"HELP" | b"?" => Ok(Self::Help),
            b"QUIT" | b"EXIT" => end(&tokens, "QUIT").map(|()| Self::Quit),
            _ => Err(unknown(line)),
        }
        .map(Some)
    }

    fn entry(
        mut tokens: Tokens<'a>,
        usage: &str,
        make: impl FnOnce(Bytes<'a>, Bytes<'a>, Bytes<'a>) -> Self,
    ) -> Result<Self, Refusal> {
        match (tokens.token()?, tokens.token()?) {
            (Some(topic), Some(key)) => Ok(make(named(topic)?, key.bytes, tokens.rest()?)),
            _ => Err(usage_is(usage)),
        }
    }

    fn leave(mut tokens: Tokens<'a>) -> Result<Self, Refusal> {
        let (topic, key) = (tokens.token()?, tokens.token()?);
        match (topic, key) {
            (Some(topic), None) if topic.is_star() => Ok(Self::LeaveAll),
            (Some(topic), None) => Ok(Self::LeaveTopic { topic: topic.bytes }),
            (Some(topic), Some(key)) if tokens.at_end() => {
                Ok(Self::Leave { topic: named(topic)?, key: key.bytes })
            }
            _ => Err(usage_is("LEAVE topic key, or LEAVE topic, or LEAVE *")),
        }
    }

    fn get(mut tokens: Tokens<'a>) -> Result<Self, Refusal> {
        match (tokens.token()?, tokens.token()?) {
            (Some(topic), Some(key)) if tokens.at_end() => {
                Ok(Self::Get { topic: named(topic)?, key: key.bytes })
            }
            _ => Err(usage_is("GET topic key")),
        }
    }

    fn count(mut tokens: Tokens<'a>) -> Result<Self, Refusal> {
        let topic = tokens.token()?;
        end(&tokens, "COUNT [topic]")?;
        Ok(Self::Count { topic: topic.filter(|topic| !topic.is_star()).map(|topic| topic.bytes) })
    }
}

fn one<'a>(mut tokens: Tokens<'a>, usage: &str) -> Result<Bytes<'a>, Refusal> {
    match tokens.token()? {
        Some(token) if tokens.at_end() => named(token),
        _ => Err(usage_is(usage)),
    }
}

/// A topic where all topics at once are not possible.
fn named(topic: Token<'_>) -> Result<Bytes<'_>, Refusal> {
    if topic.is_star() {
        let text = r#"* stands for all topics, and this takes one; TOPICS lists them. A topic of that name is written "*""#;
        return Err(Refusal::new("all-topics", text));
    }
    Ok(topic.bytes)
}

fn scope(mut tokens: Tokens<'_>, usage: &str) -> Result<Scope, Refusal> {
    match tokens.token()? {
        Some(_) if !tokens.at_end() => Err(usage_is(usage)),
        Some(token) if token.is_star() => Ok(Scope::All),
        Some(token) => Ok(Scope::Topic(token.bytes.into_owned())),
        None => Err(usage_is(usage)),
    }
}

fn end(tokens: &Tokens<'_>, usage: &str) -> Result<(), Refusal> {
    if tokens.at_end() { Ok(()) } else { Err(usage_is(usage)) }
}

fn usage_is(usage: &str) -> Refusal {
    Refusal::new("usage", format!("it is: {usage} (quote a token that has spaces)"))
}

fn unknown(line: &[u8]) -> Refusal {
    /// As much of a stranger's line as is worth repeating.
    const SHOWN_MAX: usize = 40;
    let word = line.split(|&byte| byte == b' ').find(|word| !word.is_empty()).unwrap_or_default();
    let mut shown = Vec::new();
    push_token(&mut shown, &word[..word.len().min(SHOWN_MAX)]);
    let shown = String::from_utf8_lossy(&shown);
    Refusal::new("unknown-command", format!("{shown} is not a command; HELP lists them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Command<'_>>, Refusal> {
        Command::parse(line.as_bytes())
    }

    fn bytes(text: &str) -> Bytes<'_> {
        Cow::Borrowed(text.as_bytes())
    }

    #[test]
    fn verbs_are_read_in_either_case_and_meta_is_the_rest_of_the_line() {
        assert_eq!(
            parse("join room:1 alice on the phone"),
            Ok(Some(Command::Join {
                topic: bytes("room:1"),
                key: bytes("alice"),
                meta: bytes("on the phone")
            }))
        );
        assert_eq!(
            parse(r#"Update "room 1" alice "a\n""#),
            Ok(Some(Command::Update { topic: bytes("room 1"), key: bytes("alice"), meta: bytes("a\n") }))
        );
        assert_eq!(
            parse("JOIN r k"),
            Ok(Some(Command::Join { topic: bytes("r"), key: bytes("k"), meta: bytes("") }))
        );
        assert_eq!(parse("   "), Ok(None));
    }

    #[test]
    fn a_star_means_everything_unless_it_is_quoted() {
        assert_eq!(parse("LEAVE *"), Ok(Some(Command::LeaveAll)));
        assert_eq!(parse(r#"LEAVE "*""#), Ok(Some(Command::LeaveTopic { topic: bytes("*") })));
        assert_eq!(parse("WATCH *"), Ok(Some(Command::Watch { scope: Scope::All })));
        let named = Scope::Topic(b"*".to_vec());
        assert_eq!(parse(r#"WATCH "*""#), Ok(Some(Command::Watch { scope: named })));
        assert_eq!(parse("COUNT *"), Ok(Some(Command::Count { topic: None })));
    }

    #[test]
    fn every_mistake_has_its_code_and_says_what_is_right() {
        let code = |line: &str| parse(line).unwrap_err().code;
        assert_eq!(code("HELLO"), "unknown-command");
        for line in ["JOIN", "JOIN r", "LEAVE", "LEAVE a b c", "LIST", "LIST a b", "GET r", "GET a b c"] {
            assert_eq!(code(line), "usage", "{line}");
        }
        for line in ["COUNT a b", "WATCH", "WATCH a b", "UNWATCH", "TOPICS x", "PING x", "QUIT x"] {
            assert_eq!(code(line), "usage", "{line}");
        }
        for line in ["JOIN * k", "UPDATE * k", "LEAVE * k", "LIST *", "GET * k"] {
            assert_eq!(code(line), "all-topics", "{line}");
        }
        assert_eq!(code(r#"LIST "a"#), "bad-quotes");
        assert_eq!(code(r#"JOIN r k "a" b"#), "bad-quotes");
        let shown = Command::parse(b"\x16\x03\x01\xff").unwrap_err().text;
        assert_eq!(shown, r#""\x16\x03\x01\xff" is not a command; HELP lists them"#);
    }
}
