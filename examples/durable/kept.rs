//! What the consumer keeps: its result, and the key of the last message in it, in one file that is
//! replaced in one step.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use ringduct::MessageKey;

use super::Failure;

/// The messages of the source: always the same under the same number.
pub(crate) fn message(number: u64) -> Vec<u8> {
    let readings = (0..100_u64).map(|n| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n);
    let words = std::iter::once(number).chain(readings);
    words.flat_map(u64::to_le_bytes).collect()
}

/// What all the work comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) messages: u64,
    pub(crate) sum: u64,
    /// None before the first message.
    pub(crate) last: Option<MessageKey>,
}

impl Kept {
    /// What is kept in a folder: nothing in a new one.
    pub(crate) fn load(folder: impl AsRef<Path>) -> Result<Self, Failure> {
        let text = match fs::read_to_string(folder.as_ref().join("result")) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text?,
        };
        let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
        match numbers?.as_slice() {
            [messages, sum, incarnation, position] => Ok(Self {
                messages: *messages,
                sum: *sum,
                last: Some(MessageKey {
                    incarnation: *incarnation,
                    position: *position,
                }),
            }),
            _ => Err(format!("this is no result: {text:?}").into()),
        }
    }

    /// Works on a message: here a sum, and a look whether it is the one that is due.
    pub(crate) fn work(&mut self, key: MessageKey, message: &[u8]) -> Result<(), Failure> {
        let due = self::message(self.messages);
        if message != due {
            let found = message
                .first_chunk()
                .map(|bytes| u64::from_le_bytes(*bytes));
            let due = self.messages;
            return Err(format!("message {due} was due, {found:?} came as {key}").into());
        }
        for word in message.chunks(8).filter_map(<[u8]>::first_chunk) {
            self.sum = self.sum.wrapping_add(u64::from_le_bytes(*word));
        }
        self.messages = self.messages.wrapping_add(1);
        self.last = Some(key);
        Ok(())
    }

    /// Replaces what is kept: after a crash at any moment the file holds the old state or the new
    /// one, and once this returns the new one.
    pub(crate) fn store(&self, folder: impl AsRef<Path>) -> Result<(), Failure> {
        let folder = folder.as_ref();
        let draft = folder.join("result.draft");
        let MessageKey {
            incarnation,
            position,
        } = self.last.unwrap_or_default();
        let mut file = File::create(&draft)?;
        writeln!(
            file,
            "{} {} {incarnation} {position}",
            self.messages, self.sum
        )?;
        file.sync_all()?;
        fs::rename(draft, folder.join("result"))?;
        Ok(File::open(folder)?.sync_all()?) // the name
    }
}
