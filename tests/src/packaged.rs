//! The application that has the npm package installed, as `cargo xtask test packaged` leaves it.
//!
//! It is run elsewhere; here is where it is, and what its `work.js` should have seen.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Where the application is.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/packaged")
}

/// Says how to get what is not there.
pub fn missing(path: &Path, error: &std::io::Error) -> ! {
    panic!("{}: {error}; `cargo xtask test packaged` makes it", path.display())
}

/// What an application sees that does what `work.js` does.
pub fn seen() -> Value {
    json!({
        "nobody": 0,
        "change": ["UserConnected", true, true],
        "users": [[true, "203.0.113.7", 4711, { "from": "a package" }]],
        "unknown": 1,
        "numbers": true,
        "refused": [true, "invalid_argument", "count"],
        "ordered": [0, 1],
        "done": true,
    })
}
