//! Long pieces of standard input, read by the kernel to where the consumer will find them.

use super::Sending;
use crate::failure::Failure;
use crate::framing::Framing;
use crate::input;
use crate::signals;
use crate::stdin::Stdin;

/// Messages from this size on are read in place.
const LONG_BYTES: usize = 4096;

/// The most that one read of a raw stream asks for.
const PIECE_BYTES: u64 = 64 << 10;

/// Pieces to read in place.
pub(super) struct Direct {
    stdin: Stdin,
    piece_bytes: usize,
    /// Whether a piece that is not full is a message too.
    may_be_shorter: bool,
    sent_bytes: u64,
    sent_messages: u64,
}

impl Direct {
    /// How to read in place, if that is worth it with this framing.
    pub(super) fn new(
        framing: Framing,
        capacity_bytes: u64,
        max_message_bytes: u64,
    ) -> Result<Option<Self>, Failure> {
        let most = usize::try_from(max_message_bytes).unwrap_or(usize::MAX);
        let (piece_bytes, may_be_shorter) = match framing {
            Framing::Raw => {
                // Small enough that both sides are busy.
                let piece = PIECE_BYTES.min(capacity_bytes / 8).min(max_message_bytes);
                (usize::try_from(piece).unwrap_or(most), true)
            }
            Framing::Fixed(bytes) if (LONG_BYTES..=most).contains(&bytes) => (bytes, false),
            _ => return Ok(None),
        };
        Ok(Some(Self {
            stdin: Stdin::new()?,
            piece_bytes,
            may_be_shorter,
            sent_bytes: 0,
            sent_messages: 0,
        }))
    }

    fn cut_short(&self, found_bytes: usize) -> Failure {
        self.stdin.give_back(found_bytes);
        input::cut_short(self.sent_messages, self.sent_bytes, found_bytes)
    }
}

impl Sending<'_> {
    /// Sends all of standard input.
    pub(super) fn direct(&mut self, direct: &mut Direct) -> Result<(), Failure> {
        while self.left > 0 {
            signals::check()?;
            self.wait_for_turn()?;
            let (progress, tx) = (&mut self.progress, &self.tx);
            direct
                .stdin
                .wait(|| progress.passed(0, 0, || tx.backlog_bytes()))?;
            match self.one(direct)? {
                0 => break,
                bytes => self.passed(1, bytes),
            }
        }
        Ok(())
    }

    /// Sends one piece, and says how long it is; 0 at the end.
    fn one(&mut self, direct: &mut Direct) -> Result<usize, Failure> {
        // Another message can not take the room that was waited for: this is the only producer.
        while let Err(error) = self.tx.try_claim(direct.piece_bytes) {
            self.wait_for_room_after(error, direct.piece_bytes)?;
        }
        let place = &self.args.place;
        let claimed = self.tx.try_claim(direct.piece_bytes);
        let mut claim = claimed.map_err(|error| Failure::try_send(place, error))?;
        let mut filled = 0_usize;
        while filled < direct.piece_bytes {
            let read = direct.stdin.read(|stdin| claim.read_from(stdin), || ());
            match read {
                Ok(0) if filled == 0 => return Ok(0), // dropping the claim abandons it
                Ok(0) => return Err(direct.cut_short(filled).of(place)),
                Ok(count) => filled = filled.saturating_add(count),
                Err(failure) => {
                    direct.stdin.give_back(filled);
                    return Err(failure);
                }
            }
            if direct.may_be_shorter {
                break;
            }
        }
        claim.commit_written();
        direct.sent_bytes = direct.sent_bytes.wrapping_add(filled as u64);
        direct.sent_messages = direct.sent_messages.wrapping_add(1);
        Ok(filled)
    }
}
