//! An application that has the npm package installed and was built by a bundler, without a plugin: it
//! finds the WebAssembly module, in the page and in a worker of its own.
//!
//! `cargo xtask test packaged` builds it; its sources are in `client-wasm/packaged`.

use std::{fs, path::Path};

use rollcall_tests::{browser::Browser, packaged, server::Server, site::Site};

#[tokio::test]
async fn a_bundle_finds_the_module_in_pages_and_workers() {
    let server = Server::start();
    let folder = packaged::folder().join("dist");
    let mut files = Vec::new();
    collect(&folder, "", &mut files);
    assert!(files.iter().any(|(path, _)| path.ends_with(".wasm")), "no module in {files:?}");
    let site = Site::serve(files, &[format!("ws://{}", server.address())]).await;
    let page = format!("/index.html?server=ws://{}/ws", server.address());
    let page = Browser::open("bundled", &site.url(&page)).await;
    let seen = page
        .wait("the end of the page's work", "return window.seen ?? null", |seen| {
            if seen.is_null() { Err("it is not done".to_owned()) } else { Ok(seen.clone()) }
        })
        .await;
    for place in ["page", "worker"] {
        page.assert_equal(place, &seen[place], &packaged::seen()).await;
    }
    page.assert_no_complaints().await;
}

/// All files below a folder, by their paths on a site.
fn collect(folder: &Path, path: &str, files: &mut Vec<(String, Vec<u8>)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| packaged::missing(folder, &error));
    for entry in entries {
        let entry = entry.expect("the folder is readable");
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &path, files);
        } else {
            files.push((path, fs::read(entry.path()).expect("the file is readable")));
        }
    }
}
