//! A cart survives when the program is killed and started again.

use std::{
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Shop {
    process: Child,
    port: u16,
    /// Kept open, so that the output of the shop after its address has a reader.
    _output: BufReader<ChildStdout>,
}

impl Shop {
    /// Starts the shop as the README does, in a folder and on a free port.
    fn start(folder: &Path, more: &[&str]) -> Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_quickstart"))
            .args(["--listen", "127.0.0.1:0"])
            .args(more)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        let port = loop {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                return Err("the shop does not listen".into());
            }
            if let Some((_, rest)) = line.split_once("http://localhost:") {
                let digits = rest.chars().take_while(char::is_ascii_digit);
                break digits.collect::<String>().parse()?;
            }
        };
        Ok(Self { process, port, _output: output })
    }

    /// Sends a request with a cookie, and returns the answer.
    fn send(&self, request: &str, cookie: &str, body: &str) -> Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        let length = body.len();
        write!(
            connection,
            "{request} HTTP/1.1\r\nhost: localhost:{}\r\ncookie: {cookie}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n\
             {body}",
            self.port
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Puts tea into a cart, kills the shop, and returns the page of the next one.
fn page_after_restart(more: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let shop = Shop::start(folder.path(), more)?;
    let answer = shop.send("POST /cart", "", "item=tea")?;
    let cookie = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next())
        .ok_or("no cookie")?;
    assert!(shop.send("GET /", cookie, "")?.contains("1 × tea"));
    drop(shop);
    Shop::start(folder.path(), more)?.send("GET /", cookie, "")
}

#[test]
fn a_cart_survives_a_restart() -> Result<()> {
    assert!(page_after_restart(&[])?.contains("1 × tea"));
    Ok(())
}

#[test]
fn a_cart_in_memory_ends_with_the_program() -> Result<()> {
    assert!(page_after_restart(&["--store", "memory"])?.contains("Your cart is empty"));
    Ok(())
}
