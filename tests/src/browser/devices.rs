//! What a person has besides a window: a pointer, keys, and wishes about how pages look. And scripts
//! that run before a page's own.
//!
//! All of it by Chromium's own protocol, so that pages see real events.

use serde_json::json;

use super::Browser;

impl Browser {
    /// Makes media features of CSS match these values, such as `prefers-color-scheme` and `dark`.
    pub async fn emulate(&self, features: &[(&str, &str)]) {
        let feature = |(name, value): &(&str, &str)| json!({ "name": name, "value": value });
        let features: Vec<_> = features.iter().map(feature).collect();
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Runs a script in every page from the next one on, before any script of the page.
    pub async fn run_before_pages(&self, script: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    /// Moves the pointer to a place in the window, in CSS pixels.
    pub async fn point_at(&self, x: f64, y: f64) {
        let event = json!({ "type": "mouseMoved", "x": x, "y": y });
        self.devtools("Input.dispatchMouseEvent", event).await;
    }

    /// Presses and releases a key, by its DOM name, such as `ArrowDown`.
    pub async fn press(&self, key: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key });
            self.devtools("Input.dispatchKeyEvent", event).await;
        }
    }
}
