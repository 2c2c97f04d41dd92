//! An executor whose commands are written below.

use container::{Error, ExecSpec, Executor, Exit, Resources, Result, Sandbox, Spec, State, Stats, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

/// `cat`: input to output; `sizes`, `size`: new sizes of the terminal to its output, the latter with an exit code; `yes`: output without end.
#[derive(Default)]
pub(super) struct Fake {
    /// A command or attached session has seen the end of its streams.
    pub ended: Notify,
    /// A held output is let go.
    pub release: Arc<Notify>,
}

fn unsupported<T>() -> Result<T> {
    Err(Error::Unsupported("only exec and attach are played here".into()))
}

impl Fake {
    async fn run(&self, command: &[String], stdio: Stdio) -> Result<i32> {
        let Stdio { stdin, stdout, stderr, resize } = stdio;
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words[..] {
            ["cat", code] => {
                let (mut stdin, mut stdout) = (stdin.expect("an input"), stdout.expect("an output"));
                tokio::io::copy(&mut stdin, &mut stdout).await.map_err(|e| Error::failed("copy", e))?;
                if let Some(mut stderr) = stderr {
                    stderr.write_all(b"done").await.map_err(|e| Error::failed("write", e))?;
                }
                Ok(code.parse().expect("a code"))
            }
            ["sizes"] | ["size", _] => {
                let (mut resize, mut stdout) = (resize.expect("sizes"), stdout.expect("an output"));
                let (columns, rows) = resize.recv().await.expect("a size");
                stdout
                    .write_all(format!("{columns}x{rows}").as_bytes())
                    .await
                    .map_err(|e| Error::failed("write", e))?;
                Ok(words.get(1).map_or(0, |code| code.parse().expect("a code")))
            }
            ["yes"] => {
                let mut stdout = stdout.expect("an output");
                while stdout.write_all(&[b'y'; 1024]).await.is_ok() {}
                Ok(0)
            }
            // Ends, but leaves somebody who keeps the output open.
            ["daemon"] => {
                let (mut stdout, release) = (stdout.expect("an output"), self.release.clone());
                stdout.write_all(b"started").await.map_err(|e| Error::failed("write", e))?;
                tokio::spawn(async move {
                    release.notified().await;
                    drop(stdout);
                });
                Ok(0)
            }
            _ => Err(Error::Invalid(format!("no command {words:?}"))),
        }
    }
}

#[async_trait::async_trait]
impl Executor for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn exec(&self, _: &str, exec: &ExecSpec, stdio: Stdio) -> Result<i32> {
        let result = self.run(&exec.command, stdio).await;
        self.ended.notify_one();
        result
    }

    /// Says hello, then waits for the end of the input.
    async fn attach(&self, _: &str, mut stdio: Stdio) -> Result<()> {
        if let Some(stdout) = &mut stdio.stdout {
            stdout.write_all(b"hello").await.map_err(|e| Error::failed("write", e))?;
        }
        match &mut stdio.stdin {
            Some(stdin) => {
                let _ = stdin.read_to_end(&mut Vec::new()).await;
            }
            None => {
                // Dropped with this future.
                let _gone = Gone(&self.ended);
                std::future::pending::<()>().await;
            }
        }
        self.ended.notify_one();
        Ok(())
    }

    async fn open_sandbox(&self, _: &Arc<Sandbox>) -> Result<()> {
        unsupported()
    }
    async fn close_sandbox(&self, _: &str) -> Result<()> {
        unsupported()
    }
    async fn create(&self, _: &Spec) -> Result<()> {
        unsupported()
    }
    async fn start(&self, _: &str) -> Result<u32> {
        unsupported()
    }
    async fn kill(&self, _: &str, _: i32) -> Result<()> {
        unsupported()
    }
    async fn delete(&self, _: &str) -> Result<()> {
        unsupported()
    }
    async fn state(&self, _: &str) -> Result<State> {
        unsupported()
    }
    async fn stats(&self, _: &str) -> Result<Stats> {
        unsupported()
    }
    async fn update(&self, _: &str, _: &Resources) -> Result<()> {
        unsupported()
    }
    async fn reopen_log(&self, _: &str) -> Result<()> {
        unsupported()
    }
    async fn recover(&self) -> Result<Vec<(String, State)>> {
        unsupported()
    }
    fn exits(&self) -> tokio::sync::broadcast::Receiver<(String, Exit)> {
        tokio::sync::broadcast::channel(1).1
    }
}

struct Gone<'a>(&'a Notify);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
