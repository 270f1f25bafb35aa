//! `rollcall readmit`: lets a server whose folder is damaged begin anew.

use std::path::PathBuf;

use clap::Args;
use rollcall_server::data;
use rollcall_shared::id::NodeId;

use super::args::default_data_dir;
use super::failure::Failure;
use super::{output, values};

/// Let a server whose data is damaged begin anew
///
/// For a server that says its folder is damaged and does not start. Moves the damaged files into a
/// folder beside them, so that the server starts blank: it copies the state from the others and is
/// admitted again once the rest of its cluster, without it, is a majority. Until then it counts in no
/// vote, and it begins no cluster by itself. A folder that is not damaged is left as it is.
///
/// A server of its own (a cluster of one) has nobody to copy from: only a backup brings its data back,
/// see `rollcall help restore`. Do not do this to several servers of a cluster at once: where a majority
/// has lost its data, the cluster stands still, and a backup is the way out.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Readmit {
    /// Number of the server within its cluster
    #[arg(long, value_name = "ID", default_value_t = NodeId(1), value_parser = values::node_id)]
    id: NodeId,
    /// Its folder [default: ./rollcall-data/ID]
    #[arg(long, value_name = "DIR", value_parser = values::folder)]
    data_dir: Option<PathBuf>,
}

impl Readmit {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { id, data_dir } = self;
        let folder = data_dir.unwrap_or_else(|| default_data_dir(id));
        let (why, aside) =
            data::set_aside(&folder, id).map_err(|error| Failure::Refused(error.to_string()))?;
        output::line(format_args!("{why}"))?;
        output::line(format_args!("moved to {}", aside.display()))?;
        output::line(format_args!(
            "server {id} begins blank: start it as before, and see it become a follower with \
             `rollcall status`"
        ))?;
        Ok(())
    }
}

const EXAMPLES: &str = "\
EXAMPLES
  Server 2 has said that ./rollcall-data/2 is damaged:
    rollcall readmit --id 2
    rollcall serve --id 2 --member 1=ws://127.0.0.1:7101/peer …";
