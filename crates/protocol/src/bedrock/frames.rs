//! `application/vnd.amazon.eventstream`: lengths of frame and headers, a checksum of both, headers, payload, a checksum of
//! everything. A frame is looked at where it lies; only one that came in pieces is put together first.

use crate::model::UpstreamFailure;

/// A frame of more bytes is none of ConverseStream's, which hold a few words each.
const MAX_FRAME: usize = 1 << 20;
/// A shorter one has no room for its own lengths and checksums.
const MIN_FRAME: usize = PRELUDE + CHECKSUM;
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// What is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event stream broke off or holds a bad frame")]
pub struct BadFrame;

impl From<BadFrame> for UpstreamFailure {
    fn from(bad: BadFrame) -> Self {
        Self::StreamBroken { reason: bad.to_string() }
    }
}

/// One frame, whose checksums hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    headers: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

/// Finds the frames of a body.
#[derive(Debug, Default)]
pub struct Frames {
    /// The beginning of a frame.
    part: Vec<u8>,
}

impl Frames {
    /// Takes a piece of the body and hands over each frame that is complete with it.
    ///
    /// # Errors
    /// [`BadFrame`] for a length that no frame has, as soon as it is known, and for a wrong checksum; else what `each`
    /// fails with. No more may be pushed then.
    pub fn push<E: From<BadFrame>>(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.part.is_empty() {
            let rest = frames(piece, &mut each)?;
            self.part.extend_from_slice(rest);
        } else {
            self.part.extend_from_slice(piece);
            let rest = frames(&self.part, &mut each)?.len();
            self.part.drain(..self.part.len() - rest);
        }
        Ok(())
    }

    /// Whether the last frame was whole.
    pub fn is_whole(&self) -> bool {
        self.part.is_empty()
    }
}

/// Hands over the frames at the start of `bytes`; gives back the part of one behind them.
fn frames<'a, E: From<BadFrame>>(
    mut bytes: &'a [u8],
    each: &mut impl FnMut(Frame<'_>) -> Result<(), E>,
) -> Result<&'a [u8], E> {
    while let Some((frame, rest)) = first(bytes)? {
        each(frame)?;
        bytes = rest;
    }
    Ok(bytes)
}

fn first(bytes: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>, BadFrame> {
    let Some(total) = number(bytes, 0) else { return Ok(None) };
    if !(MIN_FRAME..=MAX_FRAME).contains(&total) {
        return Err(BadFrame);
    }
    let Some((prelude, _)) = bytes.split_at_checked(PRELUDE) else { return Ok(None) };
    let headers = number(prelude, 4).filter(|headers| *headers <= total - MIN_FRAME).ok_or(BadFrame)?;
    if !checked(prelude) {
        return Err(BadFrame);
    }
    let Some((frame, rest)) = bytes.split_at_checked(total) else { return Ok(None) };
    if !checked(frame) {
        return Err(BadFrame);
    }
    let (headers, payload) =
        frame.get(PRELUDE..total - CHECKSUM).and_then(|inside| inside.split_at_checked(headers)).ok_or(BadFrame)?;
    Ok(Some((Frame { headers, payload }, rest)))
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*four)).ok()
}

/// Whether the last four bytes are the checksum of those in front of them.
fn checked(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<CHECKSUM>()
        .is_some_and(|(summed, sum)| crc32fast::hash(summed) == u32::from_be_bytes(*sum))
}

impl<'a> Frame<'a> {
    /// Its headers that are texts.
    ///
    /// # Errors
    /// [`BadFrame`] for headers that end too soon, are of no known type or no UTF-8.
    pub fn texts(self) -> impl Iterator<Item = Result<(&'a str, &'a str), BadFrame>> {
        let mut rest = self.headers;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                match header(&mut rest) {
                    Some((name, Some(text))) => return Some(Ok((name, text))),
                    Some((_, None)) => {}
                    None => {
                        rest = &[];
                        return Some(Err(BadFrame));
                    }
                }
            }
            None
        })
    }
}

/// The first header of `rest`, which is behind it afterwards: its name, and its value where that is a text.
fn header<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Option<&'a str>)> {
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at_checked(count)?;
        *rest = left;
        Some(taken)
    };
    let name = usize::from(*take(1)?.first()?);
    let name = std::str::from_utf8(take(name)?).ok()?;
    let kind = *take(1)?.first()?;
    let length = match kind {
        // true and false
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        // a number of 64 bits, a time
        5 | 8 => 8,
        // bytes, a text
        6 | 7 => usize::from(u16::from_be_bytes(*take(2)?.first_chunk::<2>()?)),
        // a UUID
        9 => 16,
        _ => return None,
    };
    let value = take(length)?;
    let text = if kind == 7 { Some(std::str::from_utf8(value).ok()?) } else { None };
    Some((name, text))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(mut out: Vec<u8>) -> Vec<u8> {
        let sum = crc32fast::hash(&out);
        out.extend(sum.to_be_bytes());
        out
    }

    pub(in super::super) fn frame(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(MIN_FRAME + headers.len() + payload.len()).unwrap().to_be_bytes().to_vec();
        out.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
        let mut out = sealed(out);
        out.extend(headers);
        out.extend(payload);
        sealed(out)
    }

    pub(in super::super) fn header(name: &str, kind: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![u8::try_from(name.len()).unwrap()];
        out.extend(name.as_bytes());
        out.push(kind);
        if matches!(kind, 6 | 7) {
            out.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        }
        out.extend(value);
        out
    }

    fn read(bytes: &[u8], size: usize) -> Result<Vec<Vec<u8>>, BadFrame> {
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        for piece in bytes.chunks(size) {
            frames.push(piece, |frame| {
                out.push(frame.payload.to_vec());
                Ok::<_, BadFrame>(())
            })?;
        }
        if frames.is_whole() { Ok(out) } else { Err(BadFrame) }
    }

    #[test]
    fn frames_are_found_however_the_body_is_cut() {
        let payloads: Vec<Vec<u8>> = [0, 1, 700, 70_000, 3].map(|length| vec![0xa5; length]).to_vec();
        let row: Vec<u8> = payloads.iter().flat_map(|payload| frame(&header("a", 7, b"b"), payload)).collect();
        for size in [1, 2, 3, 5, 16, 1000, row.len()] {
            assert_eq!(read(&row, size).as_ref(), Ok(&payloads), "{size}");
        }
    }

    #[test]
    fn lengths_that_no_frame_has_are_refused_before_anything_is_waited_for() {
        for length in [0, 3, 15, MAX_FRAME + 1, 0xffff_ffff] {
            let four = u32::try_from(length).unwrap().to_be_bytes();
            assert_eq!(read(&four, 4), Err(BadFrame), "{length}");
        }
        let largest = frame(&[], &vec![0; MAX_FRAME - MIN_FRAME]);
        assert_eq!(read(&largest, 1 << 16).unwrap().len(), 1);
        let mut lies = frame(&[], b"{}");
        lies[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(read(&lies[..PRELUDE], 4), Err(BadFrame));
    }

    #[test]
    fn headers_of_every_type_are_passed_over_and_texts_are_read() {
        let mut headers = Vec::new();
        for (kind, length) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 5), (8, 8), (9, 16)] {
            headers.extend(header("n", kind, &vec![7; length]));
        }
        headers.extend(header(":event-type", 7, "mäßig".as_bytes()));
        fn texts(headers: &[u8]) -> Vec<Option<(&str, &str)>> {
            Frame { headers, payload: &[] }.texts().map(Result::ok).collect()
        }
        assert_eq!(texts(&headers), [Some((":event-type", "mäßig"))]);
        for bad in [&headers[..headers.len() - 1], &[200], &[1, b'a', 10], &[1, b'a', 7, 0, 1, 0xff], &[1, 0xff, 0]] {
            assert_eq!(texts(bad), [None], "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1..64_usize) {
            let _ = read(&bytes, size);
            for text in (Frame { headers: &bytes, payload: &[] }).texts() {
                let _ = text;
            }
        }

        #[test]
        fn a_changed_byte_is_seen(at in any::<prop::sample::Index>(), bits in 1..=255_u8, size in 1..64_usize) {
            let mut bytes = [frame(&header("a", 7, b"b"), b"payload"), frame(&[], b"more")].concat();
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            prop_assert_eq!(read(&bytes, size), Err(BadFrame));
        }
    }
}
