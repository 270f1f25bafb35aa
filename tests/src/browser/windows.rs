//! Several windows of one browser: pages of one profile, which share storage and channels.

use fantoccini::wd::WindowHandle;

use super::Browser;

impl Browser {
    /// Opens a page in a window of its own, which is the present one from then on. Returns the one
    /// before and the new one.
    pub async fn open_window(&self, url: &str) -> [WindowHandle; 2] {
        let before = self.run("name the window", self.client.window()).await;
        let opened = self.run("open a window", self.client.new_window(false)).await.handle;
        self.switch_to(&opened).await;
        self.goto(url).await;
        [before, opened]
    }

    /// Lets the present page open another one, as somebody who duplicates its tab: that one gets a copy
    /// of what the tab has stored. Returns both as above.
    pub async fn open_copy(&self, url: &str) -> [WindowHandle; 2] {
        let before = self.run("name the window", self.client.window()).await;
        let known = self.run("name the windows", self.client.windows()).await;
        self.value(&format!("window.open({}); return true", serde_json::json!(url))).await;
        let windows = self.run("name the windows", self.client.windows()).await;
        let Some(opened) = windows.into_iter().find(|window| !known.contains(window)) else {
            self.fail("the page opened no window").await
        };
        self.switch_to(&opened).await;
        [before, opened]
    }

    /// Closes the present window; another one has to be made the present one then.
    pub async fn close_window(&self) {
        self.run("close the window", self.client.close_window()).await;
    }

    /// Makes a window the one that everything else is about.
    pub async fn switch_to(&self, window: &WindowHandle) {
        self.run("switch windows", self.client.switch_to_window(window.clone())).await;
    }
}
