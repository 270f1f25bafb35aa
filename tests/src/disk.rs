//! A small file system in memory for the state of one server, which a test can fill, enlarge and make
//! read-only.
//!
//! It is mounted in a mount namespace of its own, so that nothing of it is left however a test ends.
//! Needs root, or a system that lets users make namespaces.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::server::new_directory;

/// It vanishes when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// A shell within the namespace. It ends when nobody can say anything to it any more.
    shell: Child,
    to_shell: Option<ChildStdin>,
    from_shell: BufReader<ChildStdout>,
    /// What it is mounted on.
    place: TempDir,
}

impl SmallDisk {
    /// An empty one with room for so many MiB.
    pub fn new(mib: u64) -> Self {
        let user: &[&str] = if geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
        let mut shell = Command::new("unshare")
            .args(user)
            .args(["--mount", "sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is part of every Linux");
        let to_shell = shell.stdin.take();
        let from_shell = BufReader::new(shell.stdout.take().expect("its output is piped"));
        let mut disk = Self { shell, to_shell, from_shell, place: new_directory() };
        let place = disk.place.path().display().to_string();
        disk.run(&format!("mount -t tmpfs -o size={mib}m,mode=0755 rollcall-test '{place}'"));
        disk
    }

    /// Where its files are, for every process.
    pub fn path(&self) -> PathBuf {
        let seen_by_shell = self.place.path().strip_prefix("/").expect("it is absolute");
        Path::new("/proc").join(self.shell.id().to_string()).join("root").join(seen_by_shell)
    }

    /// Changes how much there is room for.
    pub fn resize(&mut self, mib: u64) {
        self.remount(&format!("size={mib}m"));
    }

    /// Lets nothing be written any more, or lets it again. Nobody may have a file open to be written.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.remount(if read_only { "ro" } else { "rw" });
    }

    /// Fills it with a file, but for so many KiB.
    pub fn fill(&self, but_kib: u64) {
        let mut file = File::create(self.filler()).expect("there is room for a name");
        let block = vec![0; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        let full = file.metadata().expect("the file is open").len();
        file.set_len(full.saturating_sub(but_kib * 1024)).expect("a file can be cut");
    }

    /// Takes that file away.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    fn remount(&mut self, options: &str) {
        let place = self.place.path().display().to_string();
        self.run(&format!("mount -o remount,{options} '{place}'"));
    }

    fn run(&mut self, command: &str) {
        let shell = self.to_shell.as_mut().expect("it is closed at the end only");
        writeln!(shell, "{command} && echo done || echo failed").expect("the shell listens");
        let mut answer = String::new();
        self.from_shell.read_line(&mut answer).expect("the shell answers");
        assert_eq!(answer.trim(), "done", "`{command}` fails: is this root?");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.to_shell.take());
        let _ = self.shell.wait();
    }
}
