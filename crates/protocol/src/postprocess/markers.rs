//! Cuts a text where a marker begins, and drops other markers, in a stream.

/// The filter's state: the end of the text waits while it may be the beginning of a marker.
#[derive(Debug)]
pub struct MarkerFilter {
    cut: Vec<&'static str>,
    drop: Vec<(&'static str, bool)>,
    /// First bytes of all markers: a piece without any of them has nothing to do with one.
    begins: Vec<u8>,
    held: String,
    closed: bool,
    after_drop: bool,
}

impl MarkerFilter {
    /// A filter that ends the text at the first of `cut` and takes out those of `drop`, where it says so with a line end
    /// behind it.
    pub fn new(cut: &[&'static str], drop: &[(&'static str, bool)]) -> Self {
        let markers = cut.iter().chain(drop.iter().map(|(marker, _)| marker));
        let mut begins: Vec<u8> = markers.filter_map(|marker| marker.bytes().next()).collect();
        begins.sort_unstable();
        begins.dedup();
        let held = String::new();
        MarkerFilter { cut: cut.to_vec(), drop: drop.to_vec(), begins, held, closed: false, after_drop: false }
    }

    /// Whether the filter would give the piece out as it is, and be none the wiser.
    pub(super) fn passes(&self, piece: &str) -> bool {
        let waits = self.closed || self.after_drop || !self.held.is_empty();
        !waits && !piece.bytes().any(|byte| self.begins.contains(&byte))
    }

    /// Whether the text has ended at a marker; what comes further is not passed on.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes a piece and returns what may be passed on.
    pub fn push(&mut self, piece: &str) -> String {
        if self.closed {
            return String::new();
        }
        if self.passes(piece) {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        let mut out = String::new();
        loop {
            if self.after_drop && !self.held.is_empty() {
                self.after_drop = false;
                if self.held.starts_with('\n') {
                    self.held.remove(0);
                }
            }
            let cut = self.cut.iter().filter_map(|marker| self.held.find(marker)).min();
            let found = |(marker, line): &(&str, bool)| self.held.find(marker).map(|at| (at, marker.len(), *line));
            let drop = self.drop.iter().filter_map(found).min();
            match (cut, drop) {
                (Some(at), drop) if drop.is_none_or(|(d, ..)| at <= d) => {
                    out.push_str(&self.held[..at]);
                    self.held.clear();
                    self.closed = true;
                    return out;
                }
                (_, Some((at, len, line))) => {
                    out.push_str(&self.held[..at]);
                    self.held.drain(..at + len);
                    self.after_drop = line;
                }
                _ => break,
            }
        }
        let wait = self.waiting();
        let rest = self.held.split_off(self.held.len() - wait);
        out.push_str(&std::mem::replace(&mut self.held, rest));
        out
    }

    /// The stream has ended: what was held back is no marker.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest end of the held text that is a proper beginning of a marker.
    fn waiting(&self) -> usize {
        let markers = || self.cut.iter().chain(self.drop.iter().map(|(marker, _)| marker));
        let longest = markers().map(|m| m.len()).max().unwrap_or_default();
        let from = self.held.len().saturating_sub(longest);
        self.held
            .char_indices()
            .map(|(at, _)| at)
            .filter(|at| *at >= from)
            .find(|at| markers().any(|m| m.starts_with(&self.held[*at..])))
            .map_or(0, |at| self.held.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> String {
        let new = || MarkerFilter::new(&["</new>", "<｜end｜>"], &[("<new>", true), ("<cur>", false)]);
        let mut pieces = new();
        let mut out: String = text.chars().map(|c| pieces.push(c.encode_utf8(&mut [0; 4]))).collect();
        out.push_str(&pieces.finish());
        let mut whole = new();
        assert_eq!(whole.push(text) + &whole.finish(), out, "{text}");
        out
    }

    #[test]
    fn cuts_and_drops_also_across_pieces() {
        let table = [
            ("<new>\nx\n</new>rest", "x\n"),
            ("<new>\n\nx", "\nx"),
            ("a<｜end｜>b", "a"),
            ("a < b <ne", "a < b <ne"),
            ("<<new>x", "<x"),
            ("a<cur>\nb<cu", "a\nb<cu"),
            ("</new>", ""),
            ("plain", "plain"),
        ];
        for (text, wanted) in table {
            assert_eq!(run(text), wanted, "{text}");
        }
    }
}
