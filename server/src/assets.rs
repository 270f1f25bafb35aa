//! The files the binary carries: the web console, the browser client and its examples, embedded by
//! `build.rs`.
//!
//! It only finds them. Status codes, caching headers and content negotiation are the HTTP layer's.

/// One embedded file.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its URL path without the leading slash: `index.html`, `client/rollcall.js`.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub mime: &'static str,
    /// A strong entity tag of `body`, quotes included. The gzip form is another representation: it
    /// needs a tag of its own where both are served.
    pub etag: &'static str,
    /// The bytes as they are.
    pub body: &'static [u8],
    /// The same bytes gzipped, where that is smaller.
    pub gzip: Option<&'static [u8]>,
}

/// True where the binary was built before `cargo xtask web` had run.
pub(crate) const CLIENT_MISSING: bool = BUILT_WITHOUT_CLIENT;

/// What to answer under `/client/` while [`CLIENT_MISSING`].
pub(crate) const CLIENT_MISSING_MESSAGE: &str =
    "this server was built without the browser client; run `cargo xtask web`, then build it again";

/// The file at a URL path, with or without the leading slash; the empty path is the console.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = if path.is_empty() { "index.html" } else { path };
    ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok().map(|index| &ASSETS[index])
}

// `ASSETS`, in the order of their paths, and `BUILT_WITHOUT_CLIENT`.
include!(concat!(env!("OUT_DIR"), "/assets.rs"));

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Read;

    use super::*;

    #[test]
    fn every_file_is_found_under_its_path() {
        for asset in ASSETS {
            let found = find(asset.path).expect("listed, so found: the list is sorted");
            assert_eq!(found.path, asset.path);
            assert_eq!(find(&format!("/{}", asset.path)).map(|a| a.path), Some(asset.path));
        }
        assert!(find("no/such/file").is_none());
        assert!(find("../Cargo.toml").is_none());
    }

    #[test]
    fn the_empty_path_is_the_console() {
        let index = find("/").expect("web/index.html is part of the repository");
        assert_eq!(index.path, "index.html");
        assert_eq!(index.mime, "text/html; charset=utf-8");
    }

    #[test]
    fn the_client_is_there_unless_said_otherwise() {
        assert_eq!(find("client/rollcall.js").is_none(), CLIENT_MISSING);
        assert!(CLIENT_MISSING_MESSAGE.contains("cargo xtask web"));
    }

    #[test]
    fn gzip_holds_the_same_bytes_in_fewer() {
        for asset in ASSETS {
            let Some(gzip) = asset.gzip else { continue };
            assert!(gzip.len() < asset.body.len(), "{}", asset.path);
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(gzip)
                .read_to_end(&mut plain)
                .expect("our own gzip decodes");
            assert!(plain == asset.body, "{}: gzip differs", asset.path);
        }
    }

    #[test]
    fn entity_tags_are_quoted_and_tell_files_apart() {
        let tags: HashSet<_> = ASSETS.iter().map(|asset| asset.etag).collect();
        let bodies: HashSet<_> = ASSETS.iter().map(|asset| asset.body).collect();
        assert_eq!(tags.len(), bodies.len());
        assert!(tags.iter().all(|tag| tag.len() == 18 && tag.starts_with('"')));
    }
}
