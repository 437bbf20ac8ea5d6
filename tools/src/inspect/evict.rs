//! `headcount evict`: has one entry removed by its owner.

use super::lookup::{self, Options};
use super::table::{self, shown};
use super::{Name, NameParser, print, print_json, status};
use crate::error::Error;
use crate::number::within;
use crate::ui;
use headcount::EntryRef;
use headcount_net::admin::{EntryRow, Outcome, Request, Row, Text};
use std::process::ExitCode;

/// Have one entry removed by the node that owns it
///
/// Exactly the version that is there now is removed: if its session updates it meanwhile, or joins again, that stays. The owner has to be
/// started with --admin, or to be configured to obey evictions. If several have the key, nothing is removed and they are shown.
#[derive(Debug, clap::Args)]
#[command(after_help = lookup::after_help(
    "0 it was removed; 1 it could not be written",
    "; 5 and 7 as well if the entry's owner does not answer in time, or does not let others remove its entries; 8 nothing was removed: there \
     is no such entry (any more), or several"
))]
pub(crate) struct Args {
    /// The topic
    #[arg(value_parser = NameParser)]
    topic: Name,

    /// The key
    #[arg(value_parser = NameParser)]
    key: Name,

    /// Of the entries with that key, the one of this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// Of the entries with that key, the one with this ref
    #[arg(long = "ref", value_name = "REF", conflicts_with = "node", value_parser = entry_ref)]
    entry: Option<EntryRef>,

    /// For how long to ask the owner, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = within::<1, 10_000>)]
    timeout: usize,

    #[command(flatten)]
    options: Options,
}

fn entry_ref(text: &str) -> Result<EntryRef, String> {
    text.parse().map_err(|error: headcount::ParseRefError| error.to_string())
}

fn absent(problem: String) -> Error {
    Error::Unseen { problem, status: status::ABSENT }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut link = lookup::link(&args.options)?;
    let (topic, key) = (Text::from(&args.topic.0[..]), Text::from(&args.key.0[..]));
    let mut found: Vec<EntryRow> = Vec::new();
    link.answer(&Request::Get { topic: topic.clone(), key: key.clone() }, |row| {
        if let Row::Entry(entry) = row {
            found.push(entry);
        }
        Ok(())
    })?;
    let wanted = args.entry.map(|entry| entry.to_string());
    let all = found.len();
    found.retain(|entry| {
        args.node.as_ref().is_none_or(|node| entry.node == *node)
            && wanted.as_ref().is_none_or(|wanted| entry.entry == *wanted)
    });
    let named = format!("{} in {}", shown(&key), shown(&topic));
    let entry = match &found[..] {
        [entry] => entry,
        [] => {
            let words = match (all, &args.node, &wanted) {
                (0, ..) => format!("nobody has {named}"),
                (_, Some(node), _) => format!("node {node} does not have {named}"),
                (_, _, Some(wanted)) => format!("{named} has no version {wanted} any more"),
                _ => format!("nobody has {named}"),
            };
            return Err(absent(format!("{words}; nothing was removed")));
        }
        several => {
            let lines: String = several.iter().map(table::entry).collect();
            ui::note(&format!("{}{}", table::HEADING, lines.trim_end()));
            return Err(absent(format!(
                "{} have {named}; nothing was removed: choose one with --node or --ref",
                several.len()
            )));
        }
    };
    let timeout_ms = args.timeout as u64;
    let mut outcome = None;
    link.answer(&Request::Evict { entry: entry.entry.clone(), timeout_ms }, |row| {
        if let Row::Evicted { outcome: told } = &row {
            outcome = Some(*told);
        }
        if args.options.json { print_json(&row) } else { Ok(()) }
    })?;
    match outcome {
        Some(Outcome::Removed) => {
            if !args.options.json {
                print(&format!("removed {named} of {} ({})\n", entry.node, entry.entry))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(absent(format!(
            "{named} of {} has no version {} any more: it was updated, joined again or left; nothing was removed",
            entry.node, entry.entry
        ))),
    }
}
