//! The figures of rates and of single writers: on disk against in memory, in turn.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    Result,
    bench::{Bench, Found},
    etcd::Etcd,
    figure::Outcome,
    load::{Ask, IN_FLIGHT, Load, Pace},
    place::Bed,
    server::{Keeps, Server, leader, start_three},
    sync,
};

/// Many clients of one server: numbers and comings and goings, in memory and on disk, and etcd.
pub(crate) async fn rate(bed: &Bed, run: usize) -> Result<Outcome> {
    let folders = [bed.folder()?, bed.folder()?, bed.folder()?];
    let [data, etcd_data, scratch] = folders.each_ref().map(tempfile::TempDir::path);
    let memory = Server::start(Keeps::Memory, scratch, &[]).await?;
    let disk = Server::start(Keeps::In(&data.join("1")), scratch, &[]).await?;
    let etcd = Etcd::start(etcd_data).await?;
    let urls = [vec![memory.url()], vec![disk.url()]];
    let mut values = Vec::new();
    for workload in ["sequence", "connect"] {
        let [in_memory, on_disk] = in_turn(Bench::many(workload), &urls, run, scratch).await?;
        let (in_memory, on_disk) = (in_memory.per_second, on_disk.per_second);
        values.extend([in_memory, on_disk, on_disk / in_memory].map(Some));
    }
    let Some(etcd) = etcd else {
        values.push(Some(numbers(&disk).await?));
        let notes = vec!["etcd is not installed (Debian's package is etcd-server)".to_owned()];
        return Ok(Outcome { values, notes });
    };
    let (numbers, puts) = if run.is_multiple_of(2) {
        (numbers(&disk).await?, puts(&etcd).await?)
    } else {
        let puts = puts(&etcd).await?;
        (numbers(&disk).await?, puts)
    };
    values.extend([numbers, puts, numbers / puts].map(Some));
    Ok(Outcome { values, notes: Vec::new() })
}

/// How many numbers a second a server hands out to this program.
async fn numbers(server: &Server) -> Result<f64> {
    let mut load = Load::open(server.place.address).await?;
    let mut rate = 0.0;
    for time in [WARM_UP, TIME] {
        settle().await;
        let begun = Instant::now();
        let running = load.begin(Ask::Numbers, Pace::Closed(IN_FLIGHT));
        sleep(time).await;
        let (links, took) = running.stop().await?;
        load = links;
        rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    }
    Ok(rate)
}

/// How many puts a second etcd takes from this program.
async fn puts(etcd: &Etcd) -> Result<f64> {
    settle().await;
    etcd.puts(WARM_UP).await?;
    settle().await;
    etcd.puts(TIME).await
}

/// One writer of one server, and what of that is the disk's.
pub(crate) async fn single(bed: &Bed, run: usize) -> Result<Outcome> {
    let folders = [bed.folder()?, bed.folder()?];
    let [data, scratch] = folders.each_ref().map(tempfile::TempDir::path);
    let memory = Server::start(Keeps::Memory, scratch, &[]).await?;
    let disk = Server::start(Keeps::In(&data.join("1")), scratch, &[]).await?;
    let urls = [vec![memory.url()], vec![disk.url()]];
    settle().await;
    let before = if run.is_multiple_of(2) { Some(sync::append(data).await?) } else { None };
    let [in_memory, on_disk] = in_turn(Bench::single(), &urls, run, scratch).await?;
    let appended = match before {
        Some(appended) => appended,
        None => sync::append(data).await?,
    };
    let ratio = on_disk.p50 / (appended + in_memory.p50);
    let values = [in_memory.p50, appended, on_disk.p50, ratio].map(Some).to_vec();
    Ok(Outcome { values, notes: Vec::new() })
}

/// Three servers on disk against three in memory: many clients of all, one writer at the leader.
pub(crate) async fn cluster(bed: &Bed, run: usize) -> Result<Outcome> {
    let folders = [bed.folder()?, bed.folder()?];
    let [data, scratch] = folders.each_ref().map(tempfile::TempDir::path);
    let memory = start_three(false, scratch).await?;
    let disk = start_three(true, data).await?;
    let mut values = Vec::new();
    let urls = |servers: &[Server]| servers.iter().map(Server::url).collect::<Vec<_>>();
    let all = [urls(&memory), urls(&disk)];
    let [in_memory, on_disk] = in_turn(Bench::many("sequence"), &all, run, scratch).await?;
    let rates = [in_memory.per_second, on_disk.per_second];
    values.extend([rates[0], rates[1], rates[1] / rates[0]].map(Some));
    let leaders = [vec![leader(&memory).await?.url()], vec![leader(&disk).await?.url()]];
    let [in_memory, on_disk] = in_turn(Bench::single(), &leaders, run, scratch).await?;
    values.extend([in_memory.p50, on_disk.p50, on_disk.p50 / in_memory.p50].map(Some));
    Ok(Outcome { values, notes: Vec::new() })
}

/// Measures two sets of servers one after the other, the second one first in every other run.
async fn in_turn(
    bench: Bench,
    servers: &[Vec<String>; 2],
    run: usize,
    scratch: &Path,
) -> Result<[Found; 2]> {
    for servers in servers {
        bench.warm_up().run(servers, scratch).await?;
    }
    let first = run % 2;
    settle().await;
    let one = bench.run(&servers[first], scratch).await?;
    settle().await;
    let other = bench.run(&servers[1 - first], scratch).await?;
    Ok(if first == 0 { [one, other] } else { [other, one] })
}

/// Lets servers finish what they do after load.
async fn settle() {
    sleep(Duration::from_millis(500)).await;
}

/// As `rollcall bench` is told.
const TIME: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);
