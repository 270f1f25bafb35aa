//! What the rules look at: the project's text files and its manifests.
//!
//! It judges nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of the workspace that hold nothing of ours.
const SKIPPED: [&str; 4] = [".git", "target", "rollcall-data", "node_modules"];

/// A text file of the project; its path is relative to the workspace.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|found| found == extension)
    }

    pub(crate) fn within(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    pub(crate) fn lines_where(&self, bad: impl Fn(&str) -> bool) -> Vec<usize> {
        (1..).zip(self.text.lines()).filter(|(_, line)| bad(line)).map(|(n, _)| n).collect()
    }
}

pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in the workspace's folder").to_owned()
}

pub(crate) fn project_files() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the project's folders are readable") {
            let path = entry.expect("the project's folders are readable").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if SKIPPED.contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root()).expect("found below it").to_owned();
                files.push(File { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Names of all dependencies of a package, of whatever kind and platform.
pub(crate) fn dependencies(folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (section, entries) in manifest(folder) {
        match section.rsplit_once("dependencies") {
            Some((_, "")) => names.extend(entries.into_keys()),
            // `[dependencies.name]`
            Some((_, name)) => names.push(name.trim_start_matches('.').to_owned()),
            None => {}
        }
    }
    names
}

/// A manifest's sections with the values of their keys as they are written; a key's dotted rest
/// (`tokio.workspace`) is left out.
pub(crate) fn manifest(folder: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut sections = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            current = name.trim_matches(['[', ']']).to_owned();
            sections.entry(current.clone()).or_insert_with(BTreeMap::new);
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.split('.').next().unwrap_or_default().trim().trim_matches('"');
            sections
                .entry(current.clone())
                .or_insert_with(BTreeMap::new)
                .insert(key.to_owned(), value.trim().to_owned());
        }
    }
    sections
}
