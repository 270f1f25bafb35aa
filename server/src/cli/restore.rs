//! `rollcall restore`: a backup as what a new cluster begins with.

use std::path::PathBuf;

use clap::Args;
use rollcall_server::data;
use rollcall_shared::id::NodeId;

use super::args::default_data_dir;
use super::failure::Failure;
use super::output;
use super::output::counted;
use super::values;

/// Begin a cluster with what a backup holds
///
/// Puts a backup into an empty data folder. The cluster whose servers are then started for the first
/// time begins with it: its users are back for the time a client has to return, sessions remember what
/// they did, and the sequence goes on. Restore to the server with the HIGHEST id, which begins a
/// cluster, and start the others with empty folders; all have to be there for the first start. The new
/// cluster may have other servers than the old one, and more or fewer.
///
/// Numbers that were handed out after the backup must not come again. So the sequence goes on far
/// enough ahead: 1,000,000,000 numbers, and as many again for each second since the backup. Where that
/// is not enough, or more than there are (after some 100 days), say --next-number.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Number of the server, the highest of its cluster
    #[arg(long, value_name = "ID", default_value_t = NodeId(1), value_parser = values::node_id)]
    id: NodeId,
    /// The folder of that server, empty or not there yet [default: ./rollcall-data/ID]
    #[arg(long, value_name = "DIR", value_parser = values::folder)]
    data_dir: Option<PathBuf>,
    /// The sequence goes on from this number [default: far enough ahead]
    #[arg(long, value_name = "NUMBER",
          value_parser = values::whole(1..=data::NUMBERS_END))]
    next_number: Option<u64>,
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { file, id, data_dir, next_number } = self;
        let folder = data_dir.unwrap_or_else(|| default_data_dir(id));
        let refused = |error: data::DataError| Failure::Refused(error.to_string());
        let restored = data::restore(&file, &folder, next_number).map_err(refused)?;
        output::line(format_args!(
            "{}: {} at revision {}, next number {}",
            folder.display(),
            counted(restored.users, "user"),
            restored.revision,
            restored.next_number
        ))?;
        output::line(format_args!(
            "start server {id} with it, and the others of its cluster with empty folders"
        ))
    }
}

const EXAMPLES: &str = "\
EXAMPLES
  A server of its own:
    rollcall restore today.backup
    rollcall serve

  A cluster of three, whose other folders are empty:
    rollcall restore today.backup --id 3
    rollcall serve --id 3 --member 1=ws://127.0.0.1:7101/peer …";
