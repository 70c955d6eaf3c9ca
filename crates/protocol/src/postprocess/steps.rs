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
            think: ThinkFilter::new(family == Family::Qwen),
            markers,
            unescape: Unescape::new(family == Family::Mixtral),
            fences: FenceFilter::new(lang != "markdown"),
        }
    }

    pub(super) fn push(&mut self, piece: &str) -> String {
        // most pieces pass most steps as they are, and need not be copied by each
        let (thought, marked, mended);
        let mut piece = piece;
        if !self.think.passes() {
            thought = self.think.push(piece);
            piece = &thought;
        }
        if !self.markers.passes(piece) {
            marked = self.markers.push(piece);
            piece = &marked;
        }
        if !self.unescape.passes() {
            mended = self.unescape.push(piece);
            piece = &mended;
        }
        self.fences.push(piece)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::family::Family;
    use crate::model::StopReason;
    use crate::postprocess::{AtCursor, CompletionStream, GenerationStream, completion, generation};

    fn piece() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            Just("```"),
            Just("`"),
            Just("ruby"),
            Just("\n"),
            Just(" "),
            Just("\\_"),
            Just("\\"),
            Just("<new_code>"),
            Just("</new_code>"),
            Just("<new"),
            Just("[SUFFIX]"),
            Just("[SUF"),
            Just("<think>"),
            Just("</think>"),
            Just("é€"),
            Just("def a(x)"),
            Just("}"),
            Just("<｜fim"),
            Just("</s>"),
        ]
    }

    fn family() -> impl Strategy<Value = Family> {
        (0..Family::ALL.len()).prop_map(|at| Family::ALL[at])
    }

    proptest! {
        #[test]
        fn streams_do_not_depend_on_the_pieces(
            parts in proptest::collection::vec(piece(), 0..25), family in family(), cut in 1usize..6,
        ) {
            let text = parts.concat();
            let letters: Vec<char> = text.chars().collect();
            let (mut whole, mut pieces) = (GenerationStream::new(family, "ruby"), GenerationStream::new(family, "ruby"));
            let wanted = whole.push(&text) + &whole.finish();
            let mut got: String = letters.chunks(cut).map(|c| pieces.push(&c.iter().collect::<String>())).collect();
            got.push_str(&pieces.finish());
            prop_assert_eq!(got, wanted);

            let at = AtCursor { family, lang: "ruby", above: "  def a\n    ", below: "\n  end" };
            let (mut whole, mut pieces) = (CompletionStream::new(&at), CompletionStream::new(&at));
            let wanted = whole.push(&text) + &whole.finish();
            let mut got: String = letters.chunks(cut).map(|c| pieces.push(&c.iter().collect::<String>())).collect();
            got.push_str(&pieces.finish());
            prop_assert_eq!(got, wanted);
        }

        #[test]
        fn no_answer_makes_a_step_panic(
            parts in proptest::collection::vec(piece(), 0..25), other in ".{0,30}", family in family(),
        ) {
            let text = parts.concat();
            let at = AtCursor { family, lang: "ruby", above: &other, below: &text };
            completion(&text, &at, &StopReason::MaxTokens);
            generation(&other, family, "markdown", &text);
        }
    }
}
