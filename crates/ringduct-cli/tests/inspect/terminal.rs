//! A real terminal: what people see of `stat --watch` and `top`, and what is left when they end.

use std::path::Path;
use std::process::{Command, id};

use crate::{Holder, Used, wait_until};

/// A terminal of 120 columns and 24 lines with a shell script in it.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// `None`, said aloud, without tmux, which under `CI` is a failure.
    fn open(name: &str, script: &str) -> Option<Self> {
        let terminal = Self {
            socket: format!("ringduct-{name}-{}", id()),
        };
        let size = ["-x", "120", "-y", "24"];
        let mut command = terminal.tmux(&["-f", "/dev/null", "new-session", "-d"]);
        command.args(size).arg(format!("{script}; exec cat"));
        match command.output() {
            Ok(output) => {
                assert!(output.status.success(), "{output:?}");
                Some(terminal)
            }
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "tmux: {error}");
                eprintln!("SKIPPED: tmux: {error}");
                None
            }
        }
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(args);
        command
    }

    fn press(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).status().unwrap().success());
    }

    fn screen(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the screen is as it has to be, and returns it.
    fn await_screen(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        wait_until(what, || {
            let screen = self.screen();
            if screen != last {
                last = screen;
                eprintln!("--- until {what}:\n{last}");
            }
            is_so(&last)
        });
        last
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone_before = self.tmux(&["kill-server"]).output().is_err();
    }
}

fn script(args: &str) -> String {
    let tool = env!("CARGO_BIN_EXE_ringduct");
    assert!(Path::new(tool).exists());
    format!("trap : INT; echo before; {tool} {args}; echo ended with $?; stty -a")
}

/// How a screen looks once the tool has ended and left the terminal as it was.
fn is_restored(screen: &str, code: &str) -> bool {
    let lines = |words: &str| screen.lines().any(|line| line.trim_end() == words);
    let modes: Vec<_> = screen.split([' ', ';', '\n']).collect();
    lines("before")
        && lines(&format!("ended with {code}"))
        && modes.contains(&"icanon")
        && modes.contains(&"echo")
}

/// Goal: `stat --watch` shows one table in place, with what changed.
#[test]
fn stat_watch_in_a_terminal() {
    let used = Used::new(false);
    let args = format!("stat --watch 200ms {}", used.name());
    let Some(terminal) = Terminal::open("stat", &script(&args)) else {
        return;
    };
    terminal.await_screen("98 messages", |screen| {
        screen.contains("backlog   98 messages") && screen.contains("closed")
    });
    let mut holder = Holder::of(used.name());
    holder.send("one more");
    terminal.await_screen("one more and a producer", |screen| {
        screen.contains("backlog   99 messages")
            && screen.contains(&format!("attached, pid {}", holder.pid()))
            && screen.matches("backlog").count() == 1
    });
    terminal.press("C-c");
    terminal.await_screen("the end", |screen| screen.contains("ended with 130"));
}

/// Goal: `top` shows rings as they come and change, keeps to the size of the screen, and leaves the
/// terminal as it was, by q and by Ctrl-C.
#[test]
fn top_in_a_terminal() {
    for (key, code) in [("q", "0"), ("C-c", "130")] {
        let used = Used::new(false);
        let args = format!("top {}", used.folder());
        let Some(terminal) = Terminal::open(&format!("top-{code}"), &script(&args)) else {
            return;
        };
        let row = |screen: &str, name: &str, words: &str| {
            let mut lines = screen.lines().filter(|line| line.contains(name));
            lines.any(|line| line.contains(words))
        };
        let first = terminal.await_screen("the ring", |screen| {
            screen.starts_with("ringduct top: ") && row(screen, "used.ring", " 98 ")
        });
        assert!(
            !first.contains("before") && first.contains("q ends"),
            "{first}"
        );
        let holder = Holder::of(used.name());
        terminal.await_screen("its producer", |screen| {
            row(screen, "used.ring", &format!("{} ringduct", holder.pid()))
        });
        terminal
            .tmux(&["resize-window", "-x", "50", "-y", "10"])
            .status()
            .unwrap();
        terminal.await_screen("a small screen", |screen| {
            screen.contains("SENT/S") && screen.contains("q ends") && !screen.contains("CONSUMER")
        });
        terminal
            .tmux(&["resize-window", "-x", "120", "-y", "24"])
            .status()
            .unwrap();
        terminal.await_screen("a large screen", |screen| screen.contains("CONSUMER"));
        terminal.press(key);
        terminal.await_screen("the screen before", |screen| is_restored(screen, code));
    }
}
