//! The steps that code answers have in common, whole or streamed.

use super::fences::FenceFilter;
use super::markers::MarkerFilter;
use super::unescape::Unescape;
use crate::family::Family;
use crate::react::ThinkFilter;

/// Thoughts out, markers cut, `\_` mended for Mixtral, fences out unless Markdown is what is written.
#[derive(Debug)]
pub(super) struct Steps {
    think: ThinkFilter,
    markers: MarkerFilter,
    unescape: Unescape,
    fences: FenceFilter,
}

impl Steps {
    pub(super) fn new(family: Family, lang: &str, markers: MarkerFilter) -> Self {
        Steps {
            think: ThinkFilter::new(false),
            markers,
            unescape: Unescape::new(family == Family::Mixtral),
            fences: FenceFilter::new(lang != "markdown"),
        }
    }

    pub(super) fn push(&mut self, piece: &str) -> String {
        let piece = self.think.push(piece);
        let piece = self.markers.push(&piece);
        let piece = self.unescape.push(&piece);
        self.fences.push(&piece)
    }

    pub(super) fn finish(&mut self) -> String {
        let rest = self.think.finish();
        let rest = self.markers.push(&rest) + &self.markers.finish();
        let rest = self.unescape.push(&rest) + &self.unescape.finish();
        self.fences.push(&rest) + &self.fences.finish()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.markers.is_closed()
    }
}
