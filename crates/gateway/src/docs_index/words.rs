//! Words of a text as the index knows them: lower case, without endings, without words that stand everywhere.

/// Longer runs of letters are no words: keys, hashes, base64.
const LONGEST: usize = 48;

/// Words that say nothing about what a text is about.
const EVERYWHERE: [&str; 48] = [
    "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "by", "can", "do", "does",
    "for", "from", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "must", "my", "not", "of", "on",
    "or", "that", "the", "then", "there", "this", "to", "was", "what", "when", "where", "which", "with", "you", "your",
];

/// Hands each word of `text` to `take`, in order.
pub fn words(text: &str, mut take: impl FnMut(&str)) {
    let mut word = String::new();
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            if word.len() <= LONGEST && !EVERYWHERE.contains(&word.as_str()) {
                take(stem(word));
            }
            word.clear();
        }
    };
    for c in text.chars() {
        if without_blanks(c) {
            end(&mut word);
            word.push(c);
            end(&mut word);
        } else if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else {
            end(&mut word);
        }
    }
    end(&mut word);
}

/// Chinese and Japanese put no blanks between words; each character counts as one.
fn without_blanks(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}')
}

/// English endings off, so that `settings`, `setting` and `set`, `merged` and `merge` meet. Not a linguist's stem: it
/// only has to be the same for the question and the text.
fn stem(word: &mut String) -> &str {
    if word.is_ascii() {
        if word.len() > 4 && word.ends_with("ies") {
            word.truncate(word.len() - 3);
            word.push('y');
        } else if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us") {
            word.truncate(word.len() - 1);
        }
        for ending in ["ing", "ed"] {
            if word.len() > ending.len() + 2 && word.ends_with(ending) {
                word.truncate(word.len() - ending.len());
                let bytes = word.as_bytes();
                if let [.., a, b] = bytes
                    && a == b
                    && !b"lsz".contains(b)
                {
                    word.truncate(bytes.len() - 1);
                }
                break;
            }
        }
        if word.len() > 3 && word.ends_with('e') {
            word.truncate(word.len() - 1);
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        words(text, |word| out.push(word.to_owned()));
        out
    }

    #[test]
    fn forms_of_a_word_meet() {
        for same in [
            ["merge", "merged", "merging"],
            ["Settings", "setting", "set"],
            ["policy", "policies", "Policy"],
            ["configure", "configured", "configuring"],
            ["issue", "issues", "ISSUE"],
        ] {
            let stems: Vec<_> = same.iter().flat_map(|word| all(word)).collect();
            assert!(stems.iter().all(|stem| *stem == stems[0]), "{same:?}: {stems:?}");
        }
    }

    #[test]
    fn what_is_between_words_and_what_stands_everywhere_is_left_out() {
        assert_eq!(all("How do I set `CI_JOB_TOKEN`?"), ["set", "ci", "job", "token"]);
        assert_eq!(all("日本 GitLab"), ["日", "本", "gitlab"]);
        assert_eq!(all(&"x".repeat(500)), Vec::<String>::new());
        assert_eq!(all(" \n--- é"), ["é"]);
    }
}
