//! The parent's side of a worker: started, asked, and stopped while the others are asked.

use crate::libraries::{self, Kind, Settings};
use crate::operands::Answer;
use crate::system;
use crate::worker::Reply;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A worker. It stands still (SIGSTOP) but while it is asked: a library's threads may keep spinning after a call.
pub struct Process {
    pub kind: Kind,
    pub version: String,
    child: Child,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program again, with the same command line, as the worker of `kind`.
    pub fn start(kind: Kind, settings: Settings, path: Option<&Path>) -> Result<Self, String> {
        let folder = match path.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => Some(
                folder.canonicalize().map_err(|error| format!("{kind}: {}: {error}", folder.display()))?,
            ),
            None => None,
        };
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1)).arg(format!("--worker={}", kind.word()));
        for (name, value) in libraries::environment(settings, folder.as_deref()) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{kind}: cannot start its process: {error}"))?;
        let (Some(orders), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{kind}: its process has no pipes"));
        };
        let replies = BufReader::new(replies);
        let mut process = Self { kind, version: String::new(), child, orders, replies };
        process.version = match process.reply()? {
            Reply::Ready(version) => version,
            other => return Err(process.unexpected(&other)),
        };
        system::pause(process.child.id())?;
        Ok(process)
    }

    /// Has it make a shape's operands and compute the product once.
    pub fn begin(&mut self, shape: &str) -> Result<Answer, String> {
        match self.ask(&format!("shape {shape}"))? {
            Reply::Answer(answer) => Ok(answer),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Seconds of one product of the shape that was begun.
    pub fn time(&mut self) -> Result<f64, String> {
        match self.ask("time")? {
            Reply::Took(nanoseconds) if nanoseconds > 0.0 => Ok(nanoseconds * 1e-9),
            other => Err(self.unexpected(&other)),
        }
    }

    fn ask(&mut self, order: &str) -> Result<Reply, String> {
        system::resume(self.child.id())?;
        let written = writeln!(self.orders, "{order}").and_then(|()| self.orders.flush());
        // If it has ended, the reply says so better than a broken pipe does.
        let reply = self.reply()?;
        written.map_err(|error| format!("{}: {error}", self.kind))?;
        system::pause(self.child.id())?;
        Ok(reply)
    }

    fn reply(&mut self) -> Result<Reply, String> {
        let mut line = String::new();
        match self.replies.read_line(&mut line) {
            Ok(0) => {
                let status =
                    self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(format!("{}: its process ended ({status})", self.kind))
            }
            Ok(_) => Reply::parse(line.trim_end()).map_err(|error| format!("{}: {error}", self.kind)),
            Err(error) => Err(format!("{}: {error}", self.kind)),
        }
    }

    fn unexpected(&self, reply: &Reply) -> String {
        format!("{}: unexpected answer {reply:?}", self.kind)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It holds nothing that must be written, and it may be stopped. Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
