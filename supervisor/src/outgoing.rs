//! What waits to be written to one process. Orders come first and are never given up; events of the bus are hints: if they do not
//! fit, one call to look at everything anew takes their place. So no process that reads slowly, or not at all, holds up another.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use task_mcp_link::MAX_DESCRIPTORS;

/// Events that may wait.
const HINTS_MAX: usize = 512;
/// What they may hold together, in bytes.
const HINT_BYTES_MAX: usize = 1 << 20;
/// Orders are few and small: a process that leaves so much of them unread has long stopped reading, in bytes.
const ORDER_BYTES_MAX: usize = 512 << 10;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// The first one may be written in part. Behind it, orders stand before hints.
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    bytes: Arc<[u8]>,
    written: usize,
    /// They go with the first byte.
    descriptors: Vec<OwnedFd>,
    is_hint: bool,
}

impl Outgoing {
    /// Queues an order with its descriptors.
    ///
    /// # Errors
    /// Too much waits.
    pub(crate) fn order(&mut self, frame: Vec<u8>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let waiting: usize = self.frames.iter().filter(|frame| !frame.is_hint).map(Frame::left).sum();
        if waiting > 0 && waiting + frame.len() > ORDER_BYTES_MAX {
            return Err(ErrorKind::WouldBlock.into());
        }
        let descriptors = descriptors.iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<_>>()?;
        let place = self.frames.iter().position(|frame| frame.is_hint && frame.written == 0);
        let frame = Frame { bytes: frame.into(), written: 0, descriptors, is_hint: false };
        self.frames.insert(place.unwrap_or(self.frames.len()), frame);
        Ok(())
    }

    /// Queues an event. If there is no room, all that wait are given up for `resync`; false then.
    pub(crate) fn hint(&mut self, frame: &Arc<[u8]>, resync: &Arc<[u8]>) -> bool {
        let waiting = self.frames.iter().filter(|frame| frame.is_hint);
        let (count, bytes) = waiting.fold((0, 0), |(count, bytes), frame| (count + 1, bytes + frame.left()));
        let has_room = count < HINTS_MAX && bytes + frame.len() <= HINT_BYTES_MAX;
        if has_room {
            self.push_hint(frame);
        } else {
            self.resync(resync);
        }
        has_room
    }

    /// Gives up all events that wait for `resync`.
    pub(crate) fn resync(&mut self, resync: &Arc<[u8]>) {
        self.frames.retain(|frame| !frame.is_hint || frame.written > 0);
        self.push_hint(resync);
    }

    fn push_hint(&mut self, bytes: &Arc<[u8]>) {
        self.frames.push_back(Frame { bytes: Arc::clone(bytes), written: 0, descriptors: Vec::new(), is_hint: true });
    }

    /// Bytes of an order that was not written before the program was replaced.
    pub(crate) fn go_on(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.frames.push_front(Frame { bytes: bytes.into(), written: 0, descriptors: Vec::new(), is_hint: false });
        }
    }

    /// What the next program has to write: the rest of a frame that was begun, and the orders behind it. Those with descriptors are
    /// repeated by who gave them, and events are made up for by a call to look anew.
    pub(crate) fn rest(&self) -> Vec<u8> {
        let goes_on = |frame: &&Frame| frame.written > 0 || (!frame.is_hint && frame.descriptors.is_empty());
        self.frames.iter().filter(goes_on).flat_map(|frame| frame.rest().iter().copied()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// The process is gone.
    pub(crate) fn write(&mut self, mut stream: &UnixStream) -> io::Result<()> {
        while let Some(frame) = self.frames.front_mut() {
            let written = if frame.written == 0 && !frame.descriptors.is_empty() {
                send_with(stream, &frame.bytes, &frame.descriptors)
            } else {
                stream.write(frame.rest())
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => frame.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if frame.left() == 0 {
                self.frames.pop_front();
            }
        }
        Ok(())
    }
}

impl Frame {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    fn left(&self) -> usize {
        self.rest().len()
    }
}

/// Sends as much of a frame as there is room for, and the descriptors with its first byte (unix(7), SCM_RIGHTS); how much it was.
fn send_with(stream: &UnixStream, frame: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(stream, &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::io::Read;

    use super::*;

    /// Frames that can be told apart in a stream.
    fn frame(mark: char, bytes: usize) -> Arc<[u8]> {
        let text: String = std::iter::repeat_n(mark, bytes - 1).chain([';']).collect();
        text.into_bytes().into()
    }

    fn resync() -> Arc<[u8]> {
        frame('R', 2)
    }

    /// A stream pair whose writing end never waits, filled up if asked for.
    fn pair(full: bool) -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        while full && (&ours).write(&[b' '; 4096]).is_ok() {}
        (ours, theirs)
    }

    /// Writes and reads until nothing is left; the marks of the frames in order.
    fn marks(outgoing: &mut Outgoing, ours: &UnixStream, mut theirs: &UnixStream) -> String {
        let mut text = String::new();
        loop {
            outgoing.write(ours).unwrap();
            let mut bytes = vec![0; 1 << 20];
            match theirs.read(&mut bytes) {
                Ok(count) => text.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
                Err(_) if outgoing.is_empty() => break,
                Err(_) => {}
            }
        }
        let frames = text.trim_start().split_terminator(';');
        frames
            .map(|frame| {
                assert!(frame.chars().all(|mark| frame.starts_with(mark)), "frames are mixed");
                frame.chars().next().unwrap()
            })
            .collect()
    }

    #[test]
    fn orders_come_before_events_that_wait_and_never_into_a_frame() {
        let (ours, theirs) = pair(false);
        let mut outgoing = Outgoing::default();
        // More than the socket takes at once, so that it is begun and not finished.
        assert!(outgoing.hint(&frame('a', 900_000), &resync()));
        outgoing.write(&ours).unwrap();
        assert!(!outgoing.is_empty());
        outgoing.hint(&frame('b', 10), &resync());
        outgoing.order(frame('X', 10).to_vec(), &[]).unwrap();
        outgoing.hint(&frame('c', 10), &resync());
        outgoing.order(frame('Y', 10).to_vec(), &[]).unwrap();
        assert_eq!(marks(&mut outgoing, &ours, &theirs), "aXYbc");
    }

    #[test]
    fn events_that_do_not_fit_are_replaced_by_one_call_to_look_anew() {
        let (ours, theirs) = pair(true);
        let mut outgoing = Outgoing::default();
        outgoing.order(frame('X', 10).to_vec(), &[]).unwrap();
        let fitted = (0..HINTS_MAX + 3).filter(|_| outgoing.hint(&frame('a', 10), &resync())).count();
        assert_eq!(fitted, HINTS_MAX + 2);
        outgoing.write(&ours).unwrap();
        outgoing.order(frame('Y', 10).to_vec(), &[]).unwrap();
        assert_eq!(marks(&mut outgoing, &ours, &theirs), "XYRaa");
        let (ours, theirs) = pair(true);
        for _ in 0..17 {
            outgoing.hint(&frame('b', 64 << 10), &resync());
        }
        assert_eq!(marks(&mut outgoing, &ours, &theirs), "R", "also for the memory they would take");
    }

    #[test]
    fn a_process_that_leaves_its_orders_unread_is_given_up() {
        let mut outgoing = Outgoing::default();
        let taken = (0..100).take_while(|_| outgoing.order(vec![0; 10_000], &[]).is_ok()).count();
        assert_eq!(taken, ORDER_BYTES_MAX / 10_000);
    }

    #[test]
    fn the_next_program_goes_on_in_the_middle_of_a_frame() {
        let (ours, theirs) = pair(false);
        let mut before = Outgoing::default();
        before.hint(&frame('a', 900_000), &resync());
        before.write(&ours).unwrap();
        before.order(frame('X', 10).to_vec(), &[]).unwrap();
        before.order(frame('D', 10).to_vec(), &[ours.as_fd()]).unwrap();
        before.hint(&frame('b', 10), &resync());
        let mut after = Outgoing::default();
        after.go_on(before.rest());
        after.resync(&resync());
        assert_eq!(marks(&mut after, &ours, &theirs), "aXR");
    }
}
