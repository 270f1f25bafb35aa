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

    /// Makes a window the one that everything else is about.
    pub async fn switch_to(&self, window: &WindowHandle) {
        self.run("switch windows", self.client.switch_to_window(window.clone())).await;
    }
}
