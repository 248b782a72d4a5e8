//! What a message looks like when it is written for people or for other programs.

use std::fmt::Write as _;

/// How each message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The bytes as they are
    Raw,
    /// Text; control characters, backslashes and bytes that are no UTF-8 are escaped
    Text,
    /// Two hexadecimal digits for each byte
    Hex,
    /// An object with the number of bytes and either `text` or, if it is no UTF-8, `hex`
    Json,
}

impl Format {
    /// Writes `message` to `out`, in place of what was there. Not for [`Format::Raw`].
    pub(crate) fn render(self, message: &[u8], out: &mut String) {
        out.clear();
        match self {
            Self::Raw | Self::Text => text(message, out),
            Self::Hex => hex(message, out),
            Self::Json => json(message, out),
        }
    }
}

fn text(message: &[u8], out: &mut String) {
    for chunk in message.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() || char == '\\' {
                out.extend(char.escape_default());
            } else {
                out.push(char);
            }
        }
        for byte in chunk.invalid() {
            let _never_fails = write!(out, "\\x{byte:02x}");
        }
    }
}

fn hex(message: &[u8], out: &mut String) {
    for byte in message {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
}

fn json(message: &[u8], out: &mut String) {
    let bytes = message.len();
    let object = if let Ok(text) = std::str::from_utf8(message) {
        serde_json::json!({ "bytes": bytes, "text": text })
    } else {
        let mut digits = String::new();
        hex(message, &mut digits);
        serde_json::json!({ "bytes": bytes, "hex": digits })
    };
    let _never_fails = write!(out, "{object}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_shows_every_byte() {
        let cases: [(&[u8], &str, &str, &str); 4] = [
            (b"", "", "", r#"{"bytes":0,"text":""}"#),
            (
                b"hello",
                "hello",
                "68656c6c6f",
                r#"{"bytes":5,"text":"hello"}"#,
            ),
            (
                "ü\n\\\"".as_bytes(),
                "ü\\n\\\\\"",
                "c3bc0a5c22",
                r#"{"bytes":5,"text":"ü\n\\\""}"#,
            ),
            (
                b"\x00\xff",
                "\\u{0}\\xff",
                "00ff",
                r#"{"bytes":2,"hex":"00ff"}"#,
            ),
        ];
        for (message, text, hex, json) in cases {
            for (format, expected) in [
                (Format::Text, text),
                (Format::Hex, hex),
                (Format::Json, json),
            ] {
                let mut out = "left over".to_owned();
                format.render(message, &mut out);
                assert_eq!(out, expected, "{format:?}");
            }
        }
    }
}
