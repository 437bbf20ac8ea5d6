//! `headcount topics`: the largest topics.

use super::lookup::{self, Options};
use super::table::shown;
use super::{print, print_json};
use crate::error::Error;
use crate::number::counted;
use crate::number::{grouped, within};
use crate::ui;
use headcount_net::admin::{Request, Row};
use std::process::ExitCode;

/// List the topics of a running process, the largest first
#[derive(Debug, clap::Args)]
#[command(after_help = lookup::after_help("0 it was shown, be it nothing; 1 it could not be written", ""))]
pub(crate) struct Args {
    /// How many at the most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = within::<1, 10_000>)]
    limit: usize,

    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut link = lookup::link(&args.options)?;
    let mut first = true;
    let (rows, of) = link.answer(&Request::Topics { limit: args.limit }, |row| match &row {
        Row::Topic { topic, members } if !args.options.json => {
            let heading = if std::mem::take(&mut first) { "  MEMBERS  TOPIC\n" } else { "" };
            print(&format!("{heading}{:>9}  {}\n", grouped(*members), shown(topic)))
        }
        row => print_json(row),
    })?;
    if !args.options.json {
        let of = counted(of, "topic", "topics");
        ui::note(&if rows == 0 {
            format!("no topics in {}", link.name())
        } else {
            format!("{} of {of} in {}", grouped(rows), link.name())
        });
    }
    Ok(ExitCode::SUCCESS)
}
