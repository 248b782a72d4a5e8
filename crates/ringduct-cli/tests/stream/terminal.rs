//! In a real terminal: tmux, and what its screen shows.

use std::process::{Command, Stdio};

use crate::support::{Place, Run, TOOL, lines, tool, unique, wait_until};

/// A terminal of 100 columns with a shell in it, ended with the test.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn new() -> Self {
        let terminal = Self {
            socket: format!("ringduct-cli-{}", unique()),
        };
        let shell = "exec env PS1='$ ' sh";
        terminal.tmux(&["new-session", "-d", "-x", "100", "-y", "20", shell]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.args(["-f", "/dev/null", "-L", &self.socket])
            .args(arguments);
        let done = tmux
            .env("TOOL", TOOL)
            .env_remove("NO_COLOR")
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    fn type_line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.tmux(&["send-keys", "Enter"]);
    }

    /// Waits for a line that `is` as it shall be, and returns the screen.
    fn wait_for_line(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        wait_until(what, || {
            screen = self.tmux(&["capture-pane", "-p"]);
            screen.lines().any(&is)
        });
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.socket, "kill-server"]);
        let _is_gone = tmux.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Goal: `--progress` shows totals, rates and how full the ring is on one line of a terminal, on both
/// sides, and a last word; and nothing where standard error is no terminal.
#[test]
fn progress_is_shown_on_a_terminal() {
    let place = Place::shm().create(&["--capacity", "64K"]);
    let (left, right) = (Terminal::new(), Terminal::new());
    left.type_line(&format!(
        "yes 0123456789 | $TOOL send {} -n 1000 --rate 1000 --progress",
        place.name
    ));
    let is_progress = |line: &str| {
        line.contains(" messages, ")
            && line.contains(" messages/s, ")
            && line.contains("/s; ring ")
            && line.ends_with(" % full")
    };
    let screen = left.wait_for_line("the sender's progress", is_progress);
    let lines = screen.lines().filter(|line| is_progress(line)).count();
    assert_eq!(lines, 1, "one line, drawn again and again:\n{screen}");
    right.type_line(&format!("$TOOL recv {} --progress > /dev/null", place.name));
    right.wait_for_line("the receiver's progress", is_progress);
    let is_last = |line: &str| line.starts_with("1000 messages, 9.7 KiB in ");
    println!("{}", left.wait_for_line("the sender's last word", is_last));
    println!(
        "{}",
        right.wait_for_line("the receiver's last word", is_last)
    );

    let place = Place::shm().create(&[]);
    let sender = Run::with_input(
        &mut tool(&["send", &place.name, "--progress"]),
        &self::lines(10),
    );
    assert_eq!(sender.finish().stderr, "", "no terminal, no progress");
}

/// Goal: colour on a terminal, none with `NO_COLOR`, none elsewhere.
#[test]
fn colour_is_for_terminals() {
    for (variable, coloured) in [("", true), ("NO_COLOR=1", false)] {
        let terminal = Terminal::new();
        terminal.type_line(&format!(
            "clear; {variable} $TOOL recv shm:ringduct-none --peek; echo done-$?"
        ));
        let screen = terminal.wait_for_line("its end", |line| line == "done-1");
        assert!(
            screen.contains("error: shm:ringduct-none: there is no such ring"),
            "{screen}"
        );
        let escapes = terminal.tmux(&["capture-pane", "-p", "-e"]);
        assert_eq!(
            escapes.contains("\u{1b}["),
            coloured,
            "{variable}: {escapes:?}"
        );
    }
    let done = crate::support::run(&["recv", "shm:ringduct-none", "--peek"]);
    assert!(!done.stderr.contains('\u{1b}'), "{done:?}");
}
