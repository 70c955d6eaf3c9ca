//! A page of Markdown as sections: what stands under one heading, in pieces that a model can take several of.

/// Longest piece, in bytes: about 1,000 tokens.
const LONGEST: usize = 3_500;
/// Headings below this level stay in the text above them.
const DEEPEST: usize = 4;

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// Its sections in order; none is empty.
    pub sections: Vec<Section>,
}

/// A piece of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// Headings above it, from the second level on: `Squash > Enable it`.
    pub heading: String,
    /// Fragment of the URL; empty at the top of the page.
    pub anchor: String,
    /// Its Markdown.
    pub text: String,
}

/// Reads a page. `name` is its title when it has none of its own.
pub fn read(text: &str, name: &str) -> Page {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let (front, body) = front_matter(&text);
    let mut title = front.and_then(title_of).unwrap_or_default();
    let body = without_comments(body);

    let mut sections = Vec::new();
    let mut path: Vec<(usize, String)> = Vec::new();
    let (mut heading, mut anchor) = (String::new(), String::new());
    let mut lines = String::new();
    let mut fence: Option<&str> = None;
    for line in body.lines() {
        let bare = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| bare.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            _ => {}
        }
        let outside = fence.is_none() && marker.is_none();
        if outside && is_shortcode(bare) {
            continue;
        }
        match if outside { heading_of(line) } else { None } {
            Some((level, words)) if level <= DEEPEST => {
                flush(&mut sections, &heading, &anchor, &mut lines);
                if level == 1 && title.is_empty() {
                    title = words.to_owned();
                }
                path.retain(|(above, _)| *above < level);
                path.push((level, words.to_owned()));
                let below: Vec<&str> =
                    path.iter().filter(|(level, _)| *level > 1).map(|(_, words)| words.as_str()).collect();
                heading = below.join(" > ");
                anchor = if level == 1 { String::new() } else { slug(words) };
            }
            _ => {
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }
    flush(&mut sections, &heading, &anchor, &mut lines);
    if title.is_empty() {
        title = name.to_owned();
    }
    Page { title, sections }
}

/// The block between two `---` at the top, and the rest.
fn front_matter(text: &str) -> (Option<&str>, &str) {
    let Some(rest) = text.strip_prefix("---\n") else { return (None, text) };
    match rest.split_once("\n---\n") {
        Some((front, body)) => (Some(front), body),
        None => (None, text),
    }
}

fn title_of(front: &str) -> Option<String> {
    let value = front.lines().find_map(|line| line.strip_prefix("title:"))?.trim();
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// Comments may go over many lines; one that is never closed goes to the end, as in HTML.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

/// A line of Hugo's, which GitLab's documentation is built with: `{{< details >}}`.
fn is_shortcode(line: &str) -> bool {
    let line = line.trim_end();
    (line.starts_with("{{<") && line.ends_with(">}}")) || (line.starts_with("{{%") && line.ends_with("%}}"))
}

fn heading_of(line: &str) -> Option<(usize, &str)> {
    let words = line.trim_start_matches('#');
    let level = line.len() - words.len();
    if !(1..=6).contains(&level) || !words.starts_with(' ') {
        return None;
    }
    let words = words.trim().trim_end_matches('#').trim_end();
    // `{#anchor}` and `{: .class}`
    let words = words.split_once(" {").map_or(words, |(words, _)| words).trim_end();
    (!words.is_empty()).then_some((level, words))
}

/// The fragment that GitLab's documentation gives a heading.
fn slug(heading: &str) -> String {
    let mut out = String::new();
    for c in heading.chars() {
        if c.is_alphanumeric() || c == '_' || c == '-' {
            out.extend(c.to_lowercase());
        } else if c == ' ' {
            out.push('-');
        }
    }
    out
}

fn flush(sections: &mut Vec<Section>, heading: &str, anchor: &str, lines: &mut String) {
    for text in pieces(lines.trim()) {
        sections.push(Section { heading: heading.to_owned(), anchor: anchor.to_owned(), text: text.to_owned() });
    }
    lines.clear();
}

/// Cut at blank lines where they are near enough, else at line ends, else anywhere between two characters.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    while text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let head = &text[..end];
        let cut = [head.rfind("\n\n"), head.rfind('\n')].into_iter().flatten().find(|at| *at > LONGEST / 3);
        let (piece, rest) = text.split_at(cut.unwrap_or(end));
        out.push(piece.trim());
        text = rest.trim_start();
    }
    out.push(text);
    out.retain(|piece| !piece.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_gitlabs_documentation_becomes_its_sections() {
        let page = read(
            "---\nstage: Create\ntitle: 'Squash and merge'\n---\n\n{{< details >}}\n\n- Tier: Free\n\n{{< /details >}}\n\
             Intro.\n<!-- a\nb -->\n## Set it up {#set}\n\nGo to **Settings**.\n\n```shell\n# no heading\n```\n\
             ### By project ##\nText\n##### Deep\nmore\n## Empty\n\n## Why?\nBecause.\n",
            "squash",
        );
        assert_eq!(page.title, "Squash and merge");
        let sections: Vec<_> =
            page.sections.iter().map(|s| (s.heading.as_str(), s.anchor.as_str(), s.text.as_str())).collect();
        assert_eq!(
            sections,
            [
                ("", "", "- Tier: Free\n\nIntro."),
                ("Set it up", "set-it-up", "Go to **Settings**.\n\n```shell\n# no heading\n```"),
                ("Set it up > By project", "by-project", "Text\n##### Deep\nmore"),
                ("Why?", "why", "Because."),
            ]
        );
    }

    #[test]
    fn a_page_without_a_title_has_its_first_heading_or_its_name() {
        assert_eq!(read("# Top\r\ntext\r\n", "x").title, "Top");
        assert_eq!(read("text", "x").title, "x");
        assert_eq!(read("---\nunclosed", "x").sections.len(), 1);
        assert!(read("", "x").sections.is_empty());
    }

    #[test]
    fn long_sections_are_cut_and_nothing_of_them_is_lost() {
        for text in ["word ".repeat(5_000), "é".repeat(9_000), "paragraph\n\n".repeat(2_000)] {
            let page = read(&text, "x");
            assert!(page.sections.iter().all(|section| section.text.len() <= LONGEST));
            let joined: String = page.sections.iter().map(|section| section.text.as_str()).collect();
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(bare(&joined), bare(&text));
        }
    }
}
