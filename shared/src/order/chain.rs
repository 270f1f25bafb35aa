//! What is known of one sender's numbers: up to where nothing of it can come any more, and what lies
//! beyond gaps.
//!
//! It holds no messages and decides nothing about time: both are the parent's.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::time::Instant;

/// One sender.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) from: Arc<str>,
    /// Every message up to here has come, was given up, or is not asked for.
    pub(super) through: u64,
    /// What is known beyond a gap, in order; none touches another, nor `through`.
    pieces: VecDeque<Piece>,
    /// Whether others' messages wait until this sender has passed their number.
    pub(super) awaited: bool,
}

/// The sender has a message `previous`, and from there up to `number` nothing that has not come.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) previous: u64,
    pub(super) number: u64,
    /// Since when the gap before it, or one further on, has been known: never later than that of
    /// the piece behind it.
    pub(super) since: Instant,
    /// No message of it has come, only word of it.
    pub(super) note: bool,
}

impl Chain {
    pub(super) const fn new(from: Arc<str>, through: u64) -> Self {
        Self { from, through, pieces: VecDeque::new(), awaited: true }
    }

    /// How many gaps there are.
    pub(super) fn gaps(&self) -> usize {
        self.pieces.len()
    }

    /// The first and the last number of each gap; the last one is a message for certain.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let ends = self.pieces.iter().map(|piece| piece.number);
        let starts = std::iter::once(self.through).chain(ends);
        starts.zip(&self.pieces).map(|(end, piece)| (end + 1, piece.previous))
    }

    /// The last number of the first gap, and since when any gap has been known.
    pub(super) fn first_gap(&self) -> Option<(u64, Instant)> {
        self.pieces.front().map(|piece| (piece.previous, piece.since))
    }

    /// Whether nothing new can bear this number.
    pub(super) fn covers(&self, number: u64) -> bool {
        number <= self.through
            || self.pieces.iter().any(|known| known.previous < number && number <= known.number)
    }

    /// Takes note of what was heard.
    pub(super) fn add(&mut self, mut piece: Piece) {
        if piece.previous <= self.through {
            self.raise(piece.number);
            return;
        }
        // Of mere notes two are kept, the first and the last: who sends nothing else takes no room.
        let mut notes = self.pieces.iter().enumerate().filter(|(_, known)| known.note);
        if piece.note
            && let Some((last, known)) = notes.nth(1)
            && known.previous != piece.previous
        {
            if known.previous > piece.previous {
                return;
            }
            self.pieces.remove(last);
        }
        let from = self.pieces.partition_point(|known| known.number < piece.previous);
        while let Some(known) = self.pieces.get(from) {
            // What comes later has waited for this gap too.
            piece.since = piece.since.min(known.since);
            if known.previous > piece.number {
                break;
            }
            piece.previous = piece.previous.min(known.previous);
            piece.number = piece.number.max(known.number);
            piece.note &= known.note;
            self.pieces.remove(from);
        }
        self.pieces.insert(from, piece);
    }

    /// Nothing up to this number is waited for.
    pub(super) fn raise(&mut self, number: u64) {
        self.through = self.through.max(number);
        while let Some(piece) = self.pieces.front().filter(|next| next.previous <= self.through) {
            self.through = self.through.max(piece.number);
            self.pieces.pop_front();
        }
    }

    /// Waits for the first gap no more, and says what it was.
    pub(super) fn give_up(&mut self) -> Option<(u64, u64)> {
        let piece = self.pieces.pop_front()?;
        let gap = (self.through + 1, piece.previous);
        self.through = piece.number;
        Some(gap)
    }
}
