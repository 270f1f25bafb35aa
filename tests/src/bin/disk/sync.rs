//! How long the disk takes to make 4 KiB durable, without any server.

use std::{fs, os::unix::fs::FileExt as _, path::Path, time::Duration};

use tokio::{task::spawn_blocking, time::Instant};

use crate::Result;

/// The median of writing 4 KiB behind what was written before and of syncing that (fdatasync), in
/// microseconds. The file is one as the server makes it ahead: zeros, durable before.
pub(crate) async fn append(folder: &Path) -> Result<f64> {
    let path = folder.join("appended");
    let took = spawn_blocking(move || measure(&path)).await??;
    Ok(took[took.len() / 2].as_secs_f64() * 1e6)
}

fn measure(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut options = fs::OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).open(path)?;
    let zeros = vec![0; ZEROS];
    for offset in (0..FILE).step_by(ZEROS) {
        file.write_all_at(&zeros, offset)?;
        file.sync_data()?;
    }
    file.sync_all()?;
    let begun = Instant::now();
    let mut took = Vec::new();
    for offset in (0..FILE).step_by(BLOCK).cycle() {
        let before = Instant::now();
        file.write_all_at(&[1; BLOCK], offset)?;
        file.sync_data()?;
        took.push(before.elapsed());
        if begun.elapsed() >= TIME {
            break;
        }
    }
    fs::remove_file(path)?;
    took.sort_unstable();
    Ok(took)
}

const TIME: Duration = Duration::from_secs(2);
/// A segment of the journal has as much.
const FILE: u64 = 16 << 20;
/// How much of it is written at a time ahead.
const ZEROS: usize = 1 << 20;
const BLOCK: usize = 4096;
