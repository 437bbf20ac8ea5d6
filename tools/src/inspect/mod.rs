//! Looking at processes of this machine from outside: by the counters files that they keep, and into them through their admin sockets
//! (`topics`, `list`, `get`, `watch`, `ghosts`, `evict`, `verify`).

pub(crate) mod choose;
#[cfg(test)]
pub(crate) mod clustered;
pub(crate) mod diary;
pub(crate) mod grid;
pub(crate) mod snapshot;
pub(crate) mod span;
pub(crate) mod words;

mod entries;
mod evict;
mod ghosts;
mod link;
mod lookup;
mod table;
mod topics;
mod verdict;
mod verify;
mod watch;

use crate::error::Error;
use crate::ui;
use clap::Subcommand;
use headcount_net::admin::Row;
use headcount_tools::line::Tokens;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Topics(topics::Args),
    List(entries::ListArgs),
    Get(entries::GetArgs),
    Watch(watch::Args),
    Ghosts(ghosts::Args),
    Evict(evict::Args),
    Verify(verify::Args),
}

/// Runs one.
pub(crate) fn run(command: &Command) -> Result<ExitCode, Error> {
    let outcome = match command {
        Command::Topics(args) => topics::run(args),
        Command::List(args) => entries::list(args),
        Command::Get(args) => entries::get(args),
        Command::Watch(args) => watch::run(args),
        Command::Ghosts(args) => ghosts::run(args),
        Command::Evict(args) => evict::run(args),
        Command::Verify(args) => verify::run(args),
    };
    match outcome {
        // Whoever reads has enough.
        Err(Error::System { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        outcome => outcome,
    }
}

/// A topic or a key on the command line: as it stands, or quoted with escapes as these commands show it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Name(Vec<u8>);

/// For clap.
fn name(text: &OsStr) -> Result<Name, String> {
    let bytes = text.as_bytes();
    if !bytes.starts_with(b"\"") {
        return Ok(Name(bytes.to_vec()));
    }
    let token = Tokens::new(bytes).rest().map_err(|error| format!("{error}; quote it in ' once more"))?;
    Ok(Name(token.into_owned()))
}

/// Reads a [`Name`].
#[derive(Clone)]
struct NameParser;

impl clap::builder::TypedValueParser for NameParser {
    type Value = Name;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Name, clap::Error> {
        name(value).map_err(|problem| {
            let arg = arg.map_or_else(|| "a name".to_owned(), ToString::to_string);
            let text = format!("invalid value {value:?} for '{arg}': {problem}\n");
            command.clone().error(clap::error::ErrorKind::ValueValidation, text)
        })
    }
}

fn print(text: &str) -> Result<(), Error> {
    ui::print(text).map_err(Error::system("cannot write"))
}

/// Writes a row as it came, for programs.
fn print_json(row: &Row) -> Result<(), Error> {
    print(&(serde_json::to_string(row).unwrap_or_default() + "\n"))
}

/// Exit statuses that tell scripts what there is to see.
pub(crate) mod status {
    /// Nothing runs, or not what was asked for.
    pub(crate) const NOTHING: u8 = 3;
    /// It was killed, or crashed.
    pub(crate) const DEAD: u8 = 4;
    /// It is there and says nothing: stopped, or its machine is far too busy.
    pub(crate) const SILENT: u8 = 5;
    /// Its file is of another version, damaged, or none of headcount's.
    pub(crate) const STRANGE: u8 = 6;
    /// Its file or socket is another user's, or the owner of an entry does not let others remove it.
    pub(crate) const DENIED: u8 = 7;
    /// Nobody is in that topic, or has that key there; nothing was removed.
    pub(crate) const ABSENT: u8 = 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_as_it_stands_or_as_it_is_shown() {
        let read = |text: &str| name(OsStr::new(text));
        assert_eq!(read("room:42"), Ok(Name(b"room:42".to_vec())));
        assert_eq!(read("two words"), Ok(Name(b"two words".to_vec())));
        assert_eq!(read(r#""a\xffb c""#), Ok(Name(b"a\xffb c".to_vec())));
        assert_eq!(name(OsStr::from_bytes(b"\xff")), Ok(Name(vec![0xff])));
        assert!(read(r#""open"#).is_err() && read(r#""a\q""#).is_err());
    }
}
