//! `rollcall sequence`: the next numbers of the cluster's one order.

use clap::Args;
use rollcall_shared::limits;

use super::args::ClientArgs;
use super::failure::Failure;
use super::values::whole;
use super::{client, output};

/// Take the next sequence numbers
///
/// Takes the next numbers of the cluster's one global order and prints one a line. No number is
/// ever handed out twice, and a later call gets larger ones, whichever server answers. With --json
/// it prints the payload of the reply, `{"first": …, "count": …}`: the numbers are first,
/// first + 1, ….
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sequence {
    /// How many numbers to take
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = whole(1..=limits::SEQUENCE_COUNT as u64))]
    count: u64,
    #[command(flatten)]
    client: ClientArgs,
}

impl Sequence {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let count = u32::try_from(self.count).expect("the parser knows the limit");
        let cluster = client::connect(&self.client).await?;
        let numbers = cluster.get_sequence_numbers(count).await?;
        cluster.close().await;
        if self.client.json {
            return output::json(&numbers);
        }
        let last = numbers.first + u64::from(numbers.count);
        let lines: Vec<String> = (numbers.first..last).map(|number| number.to_string()).collect();
        output::line(lines.join("\n"))
    }
}

const EXAMPLES: &str = "\
EXAMPLES
  One number:
    rollcall sequence

  A hundred at once, in one step:
    rollcall sequence --count 100";
