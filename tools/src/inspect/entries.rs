//! `headcount list` and `headcount get`: entries as a running process has them.

use super::link::Link;
use super::lookup::{self, Options};
use super::table::{self, shown};
use super::{Name, NameParser, print, print_json, status};
use crate::error::Error;
use crate::number::counted;
use crate::ui;
use headcount_net::admin::{Request, Row, Text};
use std::process::ExitCode;

/// List the entries of a topic as a running process has them
///
/// SESSION is the session that owns the entry, if that is in the process that was asked. HEARD is how long ago the entry's node was heard
/// last: how old the line may be. (When an entry joined is written down nowhere.) REF names this version of the entry in the whole
/// cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = lookup::after_help("0 somebody is there; 1 it could not be written", "; 8 nobody is in that topic"))]
pub(crate) struct ListArgs {
    /// The topic
    #[arg(value_parser = NameParser)]
    topic: Name,

    #[command(flatten)]
    options: Options,
}

/// Show the entries with one key in a topic: one for each session and node that tracks it
///
/// The columns are those of `headcount list`.
#[derive(Debug, clap::Args)]
#[command(after_help = lookup::after_help("0 somebody has it; 1 it could not be written", "; 8 nobody has that key there"))]
pub(crate) struct GetArgs {
    /// The topic
    #[arg(value_parser = NameParser)]
    topic: Name,

    /// The key
    #[arg(value_parser = NameParser)]
    key: Name,

    #[command(flatten)]
    options: Options,
}

pub(super) fn list(args: &ListArgs) -> Result<ExitCode, Error> {
    let mut link = lookup::link(&args.options)?;
    let topic = Text::from(&args.topic.0[..]);
    let rows = show(&mut link, &Request::List { topic: topic.clone() }, args.options.json)?;
    if rows == 0 {
        ui::note(&format!("nobody is in {} of {}", shown(&topic), link.name()));
        return Ok(ExitCode::from(status::ABSENT));
    }
    if !args.options.json {
        let entries = counted(rows, "entry", "entries");
        ui::note(&format!("{entries} in {} of {}", shown(&topic), link.name()));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn get(args: &GetArgs) -> Result<ExitCode, Error> {
    let mut link = lookup::link(&args.options)?;
    let (topic, key) = (Text::from(&args.topic.0[..]), Text::from(&args.key.0[..]));
    let words = format!("nobody has {} in {} of {}", shown(&key), shown(&topic), link.name());
    let rows = show(&mut link, &Request::Get { topic, key }, args.options.json)?;
    if rows == 0 {
        ui::note(&words);
        return Ok(ExitCode::from(status::ABSENT));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(link: &mut Link, request: &Request, json: bool) -> Result<u64, Error> {
    let mut first = true;
    let (rows, _) = link.answer(request, |row| match &row {
        Row::Entry(entry) if !json => {
            let heading = if std::mem::take(&mut first) { table::HEADING } else { "" };
            print(&format!("{heading}{}", table::entry(entry)))
        }
        row => print_json(row),
    })?;
    Ok(rows)
}
