//! The counters file of a node: whether it has one, and what it says of the node.

use super::options::Args;
use crate::error::Error;
use crate::ui;
use headcount::counters::{Counters, default_dir};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where counters are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Off,
    Dir(PathBuf),
}

impl Place {
    /// For clap.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("write a directory, or off".into()),
            "off" => Ok(Self::Off),
            dir => Ok(Self::Dir(dir.into())),
        }
    }
}

/// Makes the file. A node that was not told where serves without if it cannot be had: nobody is refused their presence for it.
pub(crate) fn keep(args: &Args) -> Result<Counters, Error> {
    match &args.counters {
        Some(Place::Off) => Ok(Counters::private()),
        Some(Place::Dir(dir)) => Counters::create(dir).map_err(|error| {
            let problem = format!("{error}; name a directory that this user may write to, or off");
            Error::option("--counters", dir.display(), problem)
        }),
        None => Ok(Counters::create(default_dir()).unwrap_or_else(|error| {
            ui::note(&format!(
                "warning: nobody will see inside this node: {error}; choose another place with --counters DIR, or --counters off"
            ));
            Counters::private()
        })),
    }
}

/// Says where clients connect, for readers. Who the node is and how it reaches the others is told where it joins.
pub(crate) fn tell(clients: SocketAddr, counters: &Counters) {
    counters.set_fact("listen", &clients.to_string());
}
