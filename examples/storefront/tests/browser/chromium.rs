//! Headless Chromium: one process for all tests, with a cookie jar for each visitor.

use std::{
    borrow::Cow,
    error::Error,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use chromiumoxide::{
    Browser, Page,
    cdp::{
        browser_protocol::{
            browser::BrowserContextId,
            emulation::SetDeviceMetricsOverrideParams,
            input::InsertTextParams,
            network::Cookie,
            page::{
                CaptureScreenshotFormat, GetNavigationHistoryParams, NavigateToHistoryEntryParams,
            },
            storage::GetCookiesParams,
            target::{CreateBrowserContextParams, CreateTargetParams},
        },
        js_protocol::runtime::EvaluateParams,
    },
    handler::HandlerConfig,
    page::ScreenshotParams,
};
use futures_util::StreamExt;
use serde_json::{Value, json};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Timeout of every step, long enough for a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The processes of a browser, in a process group and a folder of their own.
///
/// Dropping this value ends the processes and removes the folder. If the test process ends without
/// a drop, the watchdog does both. The watchdog is a shell that waits until a pipe is closed.
struct Processes {
    chromium: Child,
    watchdog: Child,
    pipe: Option<ChildStdin>,
    folder: PathBuf,
}

/// Returns the path of Chromium. The wrapper scripts of distributions come last, because they add
/// settings of their own.
fn executable() -> Result<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/lib/chromium/chromium", "/usr/bin/chromium", "/usr/bin/google-chrome"];
    let mut known = named.into_iter().chain(usual.map(PathBuf::from));
    known
        .find(|path| path.exists())
        .ok_or_else(|| "Chromium is not installed: scripts/browser installs it".into())
}

impl Processes {
    fn start(accepts_cookies: bool) -> Result<(Self, String)> {
        let folder = tempfile::Builder::new().prefix("storefront-").tempdir()?.keep();
        let profile = folder.join("profile");
        fs::create_dir_all(profile.join("Default"))?;
        let cookies = if accepts_cookies { 1 } else { 2 };
        let settings =
            json!({ "profile": { "default_content_setting_values": { "cookies": cookies } } });
        fs::write(profile.join("Default/Preferences"), settings.to_string())?;
        let chromium = Command::new(executable()?)
            .args(["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-extensions"])
            .args(["--disable-sync", "--disable-component-update", "--disable-breakpad"])
            .args(["--disable-background-timer-throttling", "--disable-renderer-backgrounding"])
            .args(["--disable-backgrounding-occluded-windows", "--hide-scrollbars"])
            .args(["--disable-features=Translate,HttpsUpgrades,MediaRouter", "--lang=en-US"])
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let watchdog = Command::new("/bin/sh")
            .arg("-c")
            .arg(r#"read -r done && exit; kill -s KILL -- "-$0"; sleep 0.3; rm -rf -- "$1""#)
            .arg(chromium.id().to_string())
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut watchdog = watchdog?;
        let pipe = watchdog.stdin.take();
        let processes = Self { chromium, watchdog, pipe, folder };
        let address = processes.address(&profile.join("DevToolsActivePort"))?;
        Ok((processes, address))
    }

    /// Waits for the file to which Chromium writes its address.
    fn address(&self, file: &Path) -> Result<String> {
        let start = Instant::now();
        while start.elapsed() < TIMEOUT {
            let text = fs::read_to_string(file).unwrap_or_default();
            if let [port, path] = text.lines().collect::<Vec<_>>()[..] {
                return Ok(format!("ws://127.0.0.1:{port}{path}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("Chromium did not write its address".into())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // Closing the pipe makes the watchdog end Chromium.
        drop(self.pipe.take());
        let _ = self.watchdog.wait();
        let _ = self.chromium.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A browser for any number of visitors.
pub(crate) struct Chromium {
    browser: Browser,
    _processes: Processes,
}

impl Chromium {
    pub(crate) async fn start(accepts_cookies: bool) -> Result<Self> {
        let start = tokio::task::spawn_blocking(move || Processes::start(accepts_cookies));
        let (processes, address) = start.await??;
        let config =
            HandlerConfig { viewport: None, request_timeout: TIMEOUT, ..HandlerConfig::default() };
        let (browser, mut handler) = Browser::connect_with_config(address, config).await?;
        tokio::spawn(async move { while handler.next().await.is_some() {} });
        Ok(Self { browser, _processes: processes })
    }

    /// Returns a visitor with an empty cookie jar.
    pub(crate) async fn visitor(&self, shop: &str) -> Result<Visitor<'_>> {
        let jar = CreateBrowserContextParams::builder().dispose_on_detach(true).build();
        let jar = self.browser.create_browser_context(jar).await?;
        Ok(Visitor { browser: &self.browser, jar, shop: shop.to_owned() })
    }
}

/// A visitor of a shop, with any number of tabs.
pub(crate) struct Visitor<'a> {
    browser: &'a Browser,
    jar: BrowserContextId,
    shop: String,
}

impl Visitor<'_> {
    /// Opens a path of the shop in a new tab.
    pub(crate) async fn tab(&self, path: &str) -> Result<Tab> {
        let tab = self.blank_tab().await?;
        tab.open(path).await?;
        Ok(tab)
    }

    /// Opens a new tab.
    pub(crate) async fn blank_tab(&self) -> Result<Tab> {
        let mut target = CreateTargetParams::new("about:blank");
        target.browser_context_id = Some(self.jar.clone());
        // Chromium does not render a background tab, so a click in it would wait forever.
        target.new_window = Some(true);
        let tab = Tab { page: self.browser.new_page(target).await?, shop: self.shop.clone() };
        tab.size(1024, 760).await?;
        Ok(tab)
    }

    pub(crate) async fn cookies(&self) -> Result<Vec<Cookie>> {
        let jar = GetCookiesParams { browser_context_id: Some(self.jar.clone()) };
        Ok(self.browser.execute(jar).await?.result.cookies)
    }

    /// Returns the cookie. There must be only one.
    pub(crate) async fn cookie(&self) -> Result<Cookie> {
        let mut cookies = self.cookies().await?;
        match cookies.pop() {
            Some(cookie) if cookies.is_empty() => Ok(cookie),
            other => Err(format!("not exactly one cookie: {other:?} and {cookies:?}").into()),
        }
    }
}

/// A tab on a page of the shop.
pub(crate) struct Tab {
    page: Page,
    shop: String,
}

/// A command without parameters. The type of its answer differs between versions of Chromium, so it
/// is untyped here.
#[derive(Debug)]
struct Untyped(&'static str);

impl serde::Serialize for Untyped {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        json!({}).serialize(to)
    }
}

impl chromiumoxide::types::Method for Untyped {
    fn identifier(&self) -> Cow<'static, str> {
        self.0.into()
    }
}

impl chromiumoxide::types::Command for Untyped {
    type Response = Value;
}

impl Tab {
    /// Runs a script in the page and returns its value.
    pub(crate) async fn script(&self, code: &str) -> Result<Value> {
        let mut evaluate = EvaluateParams::new(code);
        evaluate.return_by_value = Some(true);
        evaluate.await_promise = Some(true);
        let answer = self.page.execute(evaluate).await?.result;
        match answer.exception_details {
            Some(thrown) => Err(format!("{code}: {thrown:?}").into()),
            None => Ok(answer.result.value.unwrap_or(Value::Null)),
        }
    }

    /// Waits until a script returns `true`.
    pub(crate) async fn until(&self, code: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.script(code).await {
                Ok(Value::Bool(true)) => return Ok(()),
                other if start.elapsed() > TIMEOUT => {
                    let text = self.text().await.unwrap_or_default();
                    return Err(format!("timeout: {code}: {other:?}; the page shows {text}").into());
                }
                _ => tokio::time::sleep(Duration::from_millis(15)).await,
            }
        }
    }

    /// Waits until the page shows this text.
    pub(crate) async fn shows(&self, text: &str) -> Result<()> {
        self.until(&format!("document.body.innerText.includes({})", json!(text))).await
    }

    /// Returns the visible text of the page.
    pub(crate) async fn text(&self) -> Result<String> {
        Ok(self.script("document.body.innerText").await?.as_str().unwrap_or_default().to_owned())
    }

    /// Opens a path of the shop.
    pub(crate) async fn open(&self, path: &str) -> Result<()> {
        self.page.goto(format!("{}{path}", self.shop)).await?;
        self.until("document.readyState === 'complete'").await
    }

    /// Runs a step that leads to another page, and waits for that page.
    async fn navigate(&self, step: impl Future<Output = Result<()>>) -> Result<()> {
        // The mark is unique, because a page from the browser history still has its former mark. It
        // is a string, because JSON may round a number.
        self.script("void (document.mark = String(performance.now()))").await?;
        let mark = self.script("document.mark").await?;
        step.await?;
        self.until(&format!("document.mark !== {mark} && document.readyState === 'complete'")).await
    }

    /// Clicks a link or button that leads to another page.
    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        self.navigate(async {
            let click = async {
                let element = self.page.find_element(selector).await?;
                element.click().await?;
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            };
            let clicked = tokio::time::timeout(TIMEOUT, click).await;
            clicked.map_err(|_| format!("{selector} cannot be clicked"))?
        })
        .await
    }

    /// Replaces the text of an input.
    pub(crate) async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.page.find_element(selector).await?.focus().await?;
        self.script("document.activeElement.select()").await?;
        self.page.execute(InsertTextParams::new(text)).await?;
        Ok(())
    }

    /// Goes back in the history.
    pub(crate) async fn back(&self) -> Result<()> {
        let history = self.page.execute(GetNavigationHistoryParams::default()).await?.result;
        let before = usize::try_from(history.current_index - 1)?;
        let entry = history.entries.get(before).ok_or("the history has no earlier page")?;
        let back = NavigateToHistoryEntryParams::new(entry.id);
        self.navigate(async {
            self.page.execute(back).await?;
            Ok(())
        })
        .await
    }

    /// Sets the size of the page.
    pub(crate) async fn size(&self, width: i64, height: i64) -> Result<()> {
        let size = SetDeviceMetricsOverrideParams::new(width, height, 1.0, false);
        self.page.execute(size).await?;
        Ok(())
    }

    /// Writes a screenshot.
    pub(crate) async fn screenshot(&self, path: &Path) -> Result<()> {
        let png = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png).build();
        let png = self.page.screenshot(png).await?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, png)?)
    }

    /// Returns role and name of each element in the accessibility tree.
    pub(crate) async fn accessible(&self) -> Result<Vec<(String, String)>> {
        let tree = self.page.execute(Untyped("Accessibility.getFullAXTree")).await?.result;
        let nodes =
            tree["nodes"].as_array().ok_or_else(|| io::Error::other("the answer has no tree"))?;
        let visible = nodes.iter().filter(|node| node["ignored"] != json!(true));
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        Ok(visible.map(|node| (text(&node["role"]), text(&node["name"]))).collect())
    }
}
