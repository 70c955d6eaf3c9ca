use proptest::prelude::*;

use super::*;

/// Language, code above, completion (`¦` where it is to be cut), code below.
const CASES: &[(&str, &str, &str, &str)] = &[
    // the block around the cursor is closed by the completion
    ("go", "func a() {\n\t", "x()\n}¦\n\nfunc b() {\n}\n", ""),
    ("javascript", "class A {\n  a() {\n    ", "x()\n  }¦\n\n  b() {}\n", ""),
    ("javascript", "class A {\n  a() {\n    ", "x()\n  }\n}¦\nfoo()\n", ""),
    // it is closed by the code behind the cursor already
    ("go", "func a() {\n\t", "x()¦\n}\n", "\n}\n"),
    ("javascript", "class A {\n  a() {\n    ", "x()\n  }¦\n}\n", "\n}\n"),
    ("javascript", "foo({", "\n  a: 1¦\n});\nbar()", "});\n"),
    ("rust", "fn a() {\n    if x {\n        ", "y();\n    }¦\n}\n", "\n}\n"),
    // the statement that the cursor's line begins
    ("javascript", "  if (a)", " {\n    b()\n  }¦\n  return c\n", ""),
    ("javascript", "  if (a)", " {\n    b()\n  } else {\n    d()\n  }¦\n  return c\n", ""),
    ("java", "  try", "\n  {\n    a();\n  }\n  catch (E e)\n  {\n    b();\n  }\n", ""),
    ("typescript", "const a = items", ".map(x => {\n  return x\n})\n.filter(Boolean)¦\nconst b = 1", ""),
    ("rust", "pub fn a", "() -> u8 {\n    1\n}¦\n\n#[test]\nfn b() {}\n", ""),
    ("json", "{\n  \"a\": ", "{\n    \"b\": 1\n  },¦\n  \"c\": 2\n", "\n}\n"),
    // more of the same block stays
    ("go", "func a() {\n\t", "x()\n\ty()\n\n\tif z {\n\t\tw()\n\t}\n\treturn", "\n}\n"),
    ("go", "", "func a() {\n}\n\nfunc b() {\n}\n", ""),
    ("javascript", "class A {\n  ", "a() {\n  }\n\n  b() {\n  }", "\n}\n"),
    // strings, brackets and comments over lines are not looked into
    ("javascript", "  x = ", "`\n}\n}\n` + y", ""),
    ("python", "    x = ", "\"\"\"\nselect\n\"\"\"\n    y = 1", ""),
    ("python", "    x = f(", "\n1,\n2)\n    y = 1", ""),
    ("ruby", "    x = ", "<<-SQL\nselect\nend\nSQL\n    y = 1", ""),
    ("go", "/* a\n", "}\n}\nfoo", ""),
    ("go", "x := `", "\n}\n}\nfoo", ""),
    // indentation alone
    ("python", "def a():\n    ", "return 1¦\n\ndef b():\n    return 2\n", ""),
    ("python", "def a():\n", "    return 1¦\n\nx = 2\n", ""),
    ("python", "def a():", "\n    return 1¦\n\n# next\ndef b():\n    pass\n", ""),
    ("python", "    if a:\n        ", "b\n    else:\n        c¦\n    d\n", ""),
    ("python", "    x = ", "1\n    y = 2\n    return x¦\ndef b(): pass", ""),
    ("python", "class A:\n    ", "def a(self):\n        pass\n\n    def b(self):\n        pass", ""),
    ("python", "", "import a\n\ndef b():\n    pass\n\nc()\n", ""),
    ("yaml", "test:\n  script:\n    ", "- a\n    - b¦\ndeploy:\n  script: x\n", ""),
    // end words
    ("ruby", "class A\n  def a\n    ", "x\n  end¦\n\n  def b\n  end\nend\n", ""),
    ("ruby", "class A\n  def a\n    ", "x¦\n  end\nend\n", "\n  end\nend\n"),
    ("ruby", "  def a\n    ", "if x\n      y\n    else\n      z\n    end\n  rescue E\n    w\n  end¦\n  foo\n", ""),
    ("ruby", "    ", "a = 1\nputs a\n", ""),
    ("ruby", "def hello_world", "\n  puts 'hi'\nend¦\n\ndef other\nend\n", ""),
    ("ruby", "  def a", "\n    b\n  rescue E\n    c\n  end¦\n\n  def d\n  end\nend", ""),
    ("ruby", "  def a", "\n    b¦\n  end\n", "\n  end\nend\n"),
    ("ruby", "  x = a", "\n    .b\n  if y\n    z\n  end\n  w", "\nend\n"),
    ("ruby", "  x = [1,", "\n    2]\n  if y\n    z\n  end\n  w", "\nend\n"),
    ("ruby", "  x = 1", "\n  if y\n    z\n  end\n  w", "\nend\n"),
    ("c#", "  void A()", "\n  {\n    b();\n  }¦\n\n  void C()\n  {\n  }\n", "\n}\n"),
    ("c#", "  if (a)", "\n  {\n    b();\n  }\n  else\n  {\n    c();\n  }¦\n  d();\n", "\n}\n"),
    ("c#", "  a();", "\n  b();\n  {\n    c();\n  }\n  d();", "\n}\n"),
    ("lua", "function a()\n  ", "return 1\nend¦\n\nlocal b = 2", ""),
    ("shell", "if a; then\n  ", "b\nelse\n  c\nfi¦\nd\n", ""),
    ("elixir", "  def a do\n    ", ":ok\n  end¦\n\n  def b, do: 1\n", ""),
    // what cannot be told apart stays
    ("markdown", "- a\n  ", "- b\n# c\n", ""),
    ("sql", "  ", "select 1\nfrom a\n", ""),
    ("", "  ", "a\nb\n}\nc", ""),
    ("go", "func a() {\n\t", "x()\n  }\n\nfunc b() {\n}\n", ""),
    ("go", "f {\n\t", "x(}\n}\ny", ""),
    ("c", "void a() {\n  ", "b();\n#ifdef C\n  c();\n#endif\n}¦\nint d;", ""),
    ("c", "  switch (a) {\n  case 1:\n    ", "b();\n    break;\n  case 2:\n    c();\n  }¦\n  d();", ""),
];

#[test]
fn completions_end_with_their_block() {
    for (lang, above, text, below) in CASES {
        let whole = text.replace('¦', "");
        let wanted = text.split('¦').next().unwrap();
        assert_eq!(within_block(&whole, lang, above, below), wanted, "{lang}: {above:?} {text:?} {below:?}");
    }
}

fn piecewise(text: &str, size: usize, lang: &str, above: &str, below: &str) -> String {
    let mut cut = BlockCut::new(lang, above, below);
    let letters: Vec<char> = text.chars().collect();
    let mut out: String = letters.chunks(size).map(|piece| cut.push(&piece.iter().collect::<String>())).collect();
    out.push_str(&cut.finish());
    out
}

#[test]
fn a_line_or_a_comment_that_is_too_long_to_be_held_passes() {
    let above = "func a() {\n\t";
    for text in [format!("x\n{}\n}}\n\nfunc b()", "y".repeat(100_000)), format!("x{}}}\n\nb", "\n// c".repeat(10_000))]
    {
        let mut cut = BlockCut::new("go", above, "");
        let mut out = String::new();
        for piece in text.as_bytes().chunks(1000) {
            out.push_str(&cut.push(std::str::from_utf8(piece).unwrap()));
            assert!(cut.0.as_ref().is_none_or(|cut| cut.line.len() + cut.pending.len() <= 3 * MOST_HELD));
        }
        assert_eq!(out + &cut.finish(), text);
    }
}

/// Language, what opens a block behind its head, what closes it at its indentation, code above, code of its own behind.
const NESTING: [(&str, &str, &str, &str, &str); 3] = [
    ("javascript", "if (a) {", "}", "fn a() {\n  ", "\n\nfn b() {\n}\n"),
    ("ruby", "if a", "end", "def a\n  ", "\n\ndef b\nend\n"),
    ("python", "if a:", "", "def a():\n  ", "\n\ndef b():\n  pass\n"),
];

/// Lines of code that are nested as their indentation says, `depth` deep.
fn block(language: usize, depth: usize) -> BoxedStrategy<String> {
    let pad = "  ".repeat(depth);
    let (_, open, close, ..) = NESTING[language];
    let leaf = {
        let pad = pad.clone();
        (0..4usize).prop_map(move |n| format!("{pad}x{n} = f({n})\n"))
    };
    let inner =
        if depth < 4 { block(language, depth + 1) } else { leaf.clone().prop_map(|l| format!("  {l}")).boxed() };
    (proptest::collection::vec(leaf, 1..4), inner, any::<bool>(), 0..3usize)
        .prop_map(move |(lines, inner, nested, blank)| {
            let (lines, gap) = (lines.concat(), "\n".repeat(blank));
            let end = if close.is_empty() { String::new() } else { format!("{pad}{close}\n") };
            if nested { format!("{lines}{gap}{pad}{open}\n{inner}{end}{lines}") } else { lines }
        })
        .boxed()
}

proptest! {
    #[test]
    fn a_well_formed_block_is_never_cut_short(
        (language, body) in (0..NESTING.len()).prop_flat_map(|language| (Just(language), block(language, 1))),
    ) {
        let body = body.trim();
        let (lang, _, close, above, after) = NESTING[language];
        let end = format!("\n{close}\n");
        prop_assert_eq!(within_block(body, lang, above, &end), body);
        let closed = format!("{body}\n{close}");
        let closed = closed.trim_end();
        prop_assert_eq!(within_block(&format!("{closed}{after}"), lang, above, ""), closed);
        prop_assert_eq!(within_block(&format!("{closed}{after}"), lang, above, &end), body);
        // the same with the whole definition written by the model
        let (definition, first) = above.trim_end().split_at(above.find('\n').unwrap());
        let whole = format!("{first}\n  {closed}");
        prop_assert_eq!(within_block(&format!("{whole}{after}"), lang, definition, ""), whole);
    }

    #[test]
    fn what_is_cut_is_an_end_and_cutting_twice_changes_nothing(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("{"), Just("}"), Just("("), Just(")"), Just("\n"), Just("\n  "), Just("\n\t"), Just("end"),
                Just("else"), Just("\""), Just("'"), Just("# c"), Just("// c"), Just("/*"), Just("*/"), Just("<<A"),
                Just("def a"), Just(":"), Just("é"), Just("\\"), Just("\r\n"), Just("`"),
            ],
            0..30,
        ),
        lang in prop_oneof![Just("python"), Just("ruby"), Just("go"), Just("rust"), Just("c"), Just("yaml"), Just("shell")],
        above in prop_oneof![Just(""), Just("a {\n  "), Just("  if x:\n    "), Just("\tx = ")],
        below in prop_oneof![Just(""), Just("\n}\n"), Just("\n  end\nend")],
        size in 1usize..7,
    ) {
        let text = parts.concat();
        let cut = within_block(&text, lang, above, below);
        prop_assert!(text.starts_with(&cut));
        prop_assert_eq!(cut.split('\n').next(), text.split('\n').next(), "the first line stays");
        prop_assert_eq!(piecewise(&text, size, lang, above, below), cut.as_str());
        prop_assert_eq!(within_block(&cut, lang, above, below), cut);
    }
}
