//! Chromium without a window: one process for all tests, with a jar of cookies for each visitor.

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

/// Long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The processes of a browser, in a group and a folder of their own. Both go when it is dropped, or, by the
/// shell that waits for the end of a pipe, when the tests end in any other way.
struct Processes {
    chromium: Child,
    watchdog: Child,
    alive: Option<ChildStdin>,
    folder: PathBuf,
}

/// Where Chromium may be; the scripts that wrap it add settings of their own.
fn executable() -> Result<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/lib/chromium/chromium", "/usr/bin/chromium", "/usr/bin/google-chrome"];
    let mut known = named.into_iter().chain(usual.map(PathBuf::from));
    known.find(|path| path.exists()).ok_or_else(|| "no Chromium: scripts/browser gets it".into())
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
        let alive = watchdog.stdin.take();
        let processes = Self { chromium, watchdog, alive, folder };
        let address = processes.address(&profile.join("DevToolsActivePort"))?;
        Ok((processes, address))
    }

    fn address(&self, file: &Path) -> Result<String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let text = fs::read_to_string(file).unwrap_or_default();
            if let [port, path] = text.lines().collect::<Vec<_>>()[..] {
                return Ok(format!("ws://127.0.0.1:{port}{path}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("Chromium does not say where it listens".into())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // The shell sees the end of its pipe, and does the rest.
        drop(self.alive.take());
        let _ = self.watchdog.wait();
        let _ = self.chromium.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A browser, with any number of visitors.
pub(crate) struct Chromium {
    browser: Browser,
    _processes: Processes,
}

impl Chromium {
    pub(crate) async fn start(accepts_cookies: bool) -> Result<Self> {
        let start = tokio::task::spawn_blocking(move || Processes::start(accepts_cookies));
        let (processes, address) = start.await??;
        let config =
            HandlerConfig { viewport: None, request_timeout: PATIENCE, ..HandlerConfig::default() };
        let (browser, mut handler) = Browser::connect_with_config(address, config).await?;
        tokio::spawn(async move { while handler.next().await.is_some() {} });
        Ok(Self { browser, _processes: processes })
    }

    /// Somebody with a jar of their own.
    pub(crate) async fn visitor(&self, shop: &str) -> Result<Visitor<'_>> {
        let jar = CreateBrowserContextParams::builder().dispose_on_detach(true).build();
        let jar = self.browser.create_browser_context(jar).await?;
        Ok(Visitor { browser: &self.browser, jar, shop: shop.to_owned() })
    }
}

/// Somebody who visits a shop, in any number of tabs.
pub(crate) struct Visitor<'a> {
    browser: &'a Browser,
    jar: BrowserContextId,
    shop: String,
}

impl Visitor<'_> {
    pub(crate) async fn tab(&self, path: &str) -> Result<Tab> {
        let mut target = CreateTargetParams::new("about:blank");
        target.browser_context_id = Some(self.jar.clone());
        // A tab in the background is not drawn, and waits for ever to be clicked.
        target.new_window = Some(true);
        let tab = Tab { page: self.browser.new_page(target).await?, shop: self.shop.clone() };
        tab.size(1024, 760).await?;
        tab.open(path).await?;
        Ok(tab)
    }

    pub(crate) async fn cookies(&self) -> Result<Vec<Cookie>> {
        let asked = GetCookiesParams { browser_context_id: Some(self.jar.clone()) };
        Ok(self.browser.execute(asked).await?.result.cookies)
    }

    /// The only cookie there is.
    pub(crate) async fn cookie(&self) -> Result<Cookie> {
        let mut cookies = self.cookies().await?;
        match cookies.pop() {
            Some(cookie) if cookies.is_empty() => Ok(cookie),
            other => Err(format!("one cookie: {other:?} and {cookies:?}").into()),
        }
    }
}

pub(crate) struct Tab {
    page: Page,
    shop: String,
}

/// A command whose answer is not of a type that may have changed.
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
    /// What a script yields in the page that is shown.
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

    /// Waits until a script yields `true`.
    pub(crate) async fn until(&self, code: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.script(code).await {
                Ok(Value::Bool(true)) => return Ok(()),
                other if begun.elapsed() > PATIENCE => {
                    let text = self.text().await.unwrap_or_default();
                    return Err(format!("never: {code}: {other:?}; the page says {text}").into());
                }
                _ => tokio::time::sleep(Duration::from_millis(15)).await,
            }
        }
    }

    /// Waits until the page says this.
    pub(crate) async fn says(&self, text: &str) -> Result<()> {
        self.until(&format!("document.body.innerText.includes({})", json!(text))).await
    }

    pub(crate) async fn text(&self) -> Result<String> {
        Ok(self.script("document.body.innerText").await?.as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn open(&self, path: &str) -> Result<()> {
        self.page.goto(format!("{}{path}", self.shop)).await?;
        self.until("document.readyState === 'complete'").await
    }

    /// Does what leads to another page, and waits until that is there.
    async fn leaving(&self, step: impl Future<Output = Result<()>>) -> Result<()> {
        // A page that comes back from the history remembers what was noted in it.
        self.script("void (document.left = performance.now())").await?;
        let left = self.script("document.left").await?;
        step.await?;
        self.until(&format!("document.left !== {left} && document.readyState === 'complete'")).await
    }

    /// Clicks on what leads to another page.
    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        self.leaving(async {
            let click = async {
                let element = self.page.find_element(selector).await?;
                element.click().await?;
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            };
            let clicked = tokio::time::timeout(PATIENCE, click).await;
            clicked.map_err(|_| format!("{selector} cannot be clicked"))?
        })
        .await
    }

    pub(crate) async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.page.find_element(selector).await?.focus().await?;
        self.script("document.activeElement.select()").await?;
        self.page.execute(InsertTextParams::new(text)).await?;
        Ok(())
    }

    pub(crate) async fn back(&self) -> Result<()> {
        let history = self.page.execute(GetNavigationHistoryParams::default()).await?.result;
        let before = usize::try_from(history.current_index - 1)?;
        let entry = history.entries.get(before).ok_or("there was a page before")?;
        let back = NavigateToHistoryEntryParams::new(entry.id);
        self.leaving(async {
            self.page.execute(back).await?;
            Ok(())
        })
        .await
    }

    pub(crate) async fn size(&self, width: i64, height: i64) -> Result<()> {
        let size = SetDeviceMetricsOverrideParams::new(width, height, 1.0, false);
        self.page.execute(size).await?;
        Ok(())
    }

    pub(crate) async fn picture(&self, path: &Path) -> Result<()> {
        let png = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png).build();
        let png = self.page.screenshot(png).await?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, png)?)
    }

    /// The role and the name of everything that assistive technology is told of.
    pub(crate) async fn told(&self) -> Result<Vec<(String, String)>> {
        let tree = self.page.execute(Untyped("Accessibility.getFullAXTree")).await?.result;
        let nodes = tree["nodes"].as_array().ok_or_else(|| io::Error::other("a tree"))?;
        let shown = nodes.iter().filter(|node| node["ignored"] != json!(true));
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        Ok(shown.map(|node| (text(&node["role"]), text(&node["name"]))).collect())
    }
}
