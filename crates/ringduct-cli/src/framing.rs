//! How messages are told apart in a stream of bytes: on standard input, and again on standard
//! output.

/// What separates messages in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each ends with a newline, which is not part of it; the last one may lack it.
    Line,
    /// Each ends with a NUL byte, which is not part of it; the last one may lack it.
    Nul,
    /// Each has this many bytes; at least one.
    Fixed(usize),
    /// Each follows its length: four bytes, the lowest first.
    Prefix,
    /// Nothing does: messages are pieces of the stream, cut anywhere.
    Raw,
}

/// Bytes of a length in front of a message.
const PREFIX_BYTES: usize = 4;

/// A message in a run of bytes: where it starts and ends, and where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) next: usize,
}

/// What comes next in a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole message.
    Message(Cut),
    /// The start of a message, of which this much is known: its bytes are at least so many.
    Part { at_least_bytes: u64 },
}

impl Framing {
    /// Reads `line`, `nul`, `fixed:BYTES`, `prefix` or `raw`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is none of line, nul, fixed:BYTES, prefix, raw");
        match text.split_once(':') {
            None => match text {
                "line" => Ok(Self::Line),
                "nul" => Ok(Self::Nul),
                "prefix" => Ok(Self::Prefix),
                "raw" => Ok(Self::Raw),
                _ => Err(wrong()),
            },
            Some(("fixed", size)) => {
                let bytes = crate::size::bytes(size)?;
                let bytes = u32::try_from(bytes).ok().filter(|bytes| *bytes > 0);
                let bytes = bytes.ok_or("a message has 1 byte to 4 GiB less one")?;
                Ok(Self::Fixed(usize::try_from(bytes).unwrap_or(usize::MAX)))
            }
            Some(_) => Err(wrong()),
        }
    }

    /// The first message of `bytes`, of which the first `scanned` are known not to end one.
    #[inline]
    pub(crate) fn find(self, bytes: &[u8], scanned: usize) -> Found {
        match self {
            Self::Line => delimited(bytes, scanned, b'\n'),
            Self::Nul => delimited(bytes, scanned, 0),
            Self::Fixed(length) => sized(bytes, 0, length),
            Self::Prefix => match bytes.first_chunk::<PREFIX_BYTES>() {
                Some(prefix) => {
                    let length = u32::from_le_bytes(*prefix);
                    sized(
                        bytes,
                        PREFIX_BYTES,
                        usize::try_from(length).unwrap_or(usize::MAX),
                    )
                }
                None => Found::Part { at_least_bytes: 0 },
            },
            Self::Raw if bytes.is_empty() => Found::Part { at_least_bytes: 0 },
            Self::Raw => Found::Message(Cut {
                start: 0,
                end: bytes.len(),
                next: bytes.len(),
            }),
        }
    }

    /// What is left in front of the end of the stream, as a message; `None` if it is a part of one
    /// that can not be told from a whole one.
    pub(crate) fn last(self, bytes: &[u8]) -> Option<Cut> {
        matches!(self, Self::Line | Self::Nul | Self::Raw).then_some(Cut {
            start: 0,
            end: bytes.len(),
            next: bytes.len(),
        })
    }

    /// Appends a message as it stands in a stream.
    #[inline]
    pub(crate) fn append(self, message: &[u8], out: &mut Vec<u8>) {
        if self == Self::Prefix {
            // A record's length has 32 bits.
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(message);
        match self {
            Self::Line => out.push(b'\n'),
            Self::Nul => out.push(0),
            Self::Fixed(_) | Self::Prefix | Self::Raw => {}
        }
    }
}

#[inline]
fn delimited(bytes: &[u8], scanned: usize, delimiter: u8) -> Found {
    let fresh = bytes.get(scanned..).unwrap_or_default();
    match memchr::memchr(delimiter, fresh) {
        Some(offset) => {
            let end = scanned.saturating_add(offset);
            Found::Message(Cut {
                start: 0,
                end,
                next: end.saturating_add(1),
            })
        }
        None => Found::Part {
            at_least_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        },
    }
}

#[inline]
fn sized(bytes: &[u8], start: usize, length: usize) -> Found {
    let end = start.saturating_add(length);
    if bytes.len() < end {
        return Found::Part {
            at_least_bytes: u64::try_from(length).unwrap_or(u64::MAX),
        };
    }
    Found::Message(Cut {
        start,
        end,
        next: end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every framing gives back the messages it was given, however the stream is cut.
    #[test]
    fn what_was_appended_is_found() {
        let messages: [&[u8]; 4] = [b"abcd", b"\x01\xff\r ", b"four", b"last"];
        let framings = [
            Framing::Line,
            Framing::Nul,
            Framing::Fixed(4),
            Framing::Prefix,
        ];
        let mut found_count = 0;
        for framing in framings {
            let mut stream = Vec::new();
            for message in messages {
                framing.append(message, &mut stream);
            }
            let mut rest = stream.as_slice();
            for message in messages {
                let Found::Message(cut) = framing.find(rest, 0) else {
                    panic!("{framing:?}: no message in {rest:?}");
                };
                assert_eq!(&rest[cut.start..cut.end], message);
                for length in 0..cut.next {
                    let found = framing.find(&rest[..length], 0);
                    assert!(
                        matches!(found, Found::Part { .. }),
                        "{framing:?}: {found:?}"
                    );
                }
                rest = &rest[cut.next..];
                found_count += 1;
            }
            assert!(rest.is_empty(), "{framing:?}: {rest:?}");
        }
        assert_eq!(found_count, 16);
    }

    #[test]
    fn an_empty_line_is_an_empty_message() {
        let cut = Cut {
            start: 0,
            end: 0,
            next: 1,
        };
        assert_eq!(Framing::Line.find(b"\n\n", 0), Found::Message(cut));
        let cut = Cut {
            start: 4,
            end: 4,
            next: 4,
        };
        assert_eq!(Framing::Prefix.find(&[0; 4], 0), Found::Message(cut));
    }

    #[test]
    fn a_length_is_known_before_its_message() {
        let part = Found::Part {
            at_least_bytes: 0x0102,
        };
        assert_eq!(Framing::Prefix.find(&[2, 1, 0, 0, 9], 0), part);
        assert_eq!(Framing::Prefix.last(&[2, 1]), None);
        assert_eq!(Framing::Fixed(3).last(b"ab"), None);
        assert!(Framing::Line.last(b"ab").is_some());
    }

    #[test]
    fn framings_have_names() {
        assert_eq!(Framing::parse("fixed:4K"), Ok(Framing::Fixed(4096)));
        assert_eq!(Framing::parse("prefix"), Ok(Framing::Prefix));
        for text in [
            "", "lines", "fixed", "fixed:", "fixed:0", "fixed:4G", "line:1",
        ] {
            assert!(Framing::parse(text).is_err(), "{text}");
        }
    }
}
