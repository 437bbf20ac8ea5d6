//! `headcount ghosts`: entries that may not be true any more.

use super::lookup::{self, Options};
use super::table::{self, shown};
use super::{print, print_json};
use crate::error::Error;
use crate::number::{counted, grouped};
use crate::ui;
use headcount_net::admin::{Request, Row};
use std::process::ExitCode;

/// There are some.
const SOME: u8 = 1;

/// List entries that are shown and may not be true any more
///
/// An entry is listed if its node is silent (suspect; one that is down is not shown at all), if only others hear that node, if the node has
/// left and handed its entries over for a while, if the entry is of an earlier life of its node, or if a snapshot of its lane is under way or
/// was broken off. Of a node that is heard, every entry is what its program says: whether a person behind a session is still there is known
/// to that program alone, so nothing is listed for that; `headcount evict` removes such an entry.
#[derive(Debug, clap::Args)]
#[command(after_help = lookup::after_help("0 there are none; 1 there are some", ""))]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut link = lookup::link(&args.options)?;
    let (rows, of) = link.answer(&Request::Ghosts, |row| match &row {
        Row::Ghost { why, entry } if !args.options.json => {
            let heard =
                entry.heard_ms.map_or_else(String::new, |ms| format!(" for {}", table::age(Some(ms))));
            let ghost = format!("{} in {} of {}", shown(&entry.key), shown(&entry.topic), entry.node);
            print(&format!("{ghost}: {why}{heard}  ({})\n", entry.entry))
        }
        row => print_json(row),
    })?;
    if !args.options.json {
        ui::note(&format!("{} of {} of {}", grouped(rows), counted(of, "entry", "entries"), link.name()));
    }
    Ok(ExitCode::from(if rows == 0 { 0 } else { SOME }))
}
