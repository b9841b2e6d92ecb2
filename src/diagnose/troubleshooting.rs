//! docs/troubleshooting.md: each heading is a text that the program says.

use crate::discovery::Trouble;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

fn headings() -> impl Iterator<Item = &'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("### "))
}

/// All of the program's code, texts that are broken over lines put together.
fn code() -> String {
    fn collect(folder: &Path, code: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, code);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut code = String::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
    // A text that goes on in the next line has a backslash at the end of this one.
    let mut parts = code.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| whole + part.trim_start())
}

#[test]
fn each_heading_is_a_text_of_the_code() {
    let code = code();
    for heading in headings() {
        let pattern = regex::escape(heading).replace('…', r"\{[^{}]*\}");
        let text = regex::Regex::new(&format!("\"{pattern}\"")).unwrap();
        // The whole text is looked for only around its longest fixed part: there is much code.
        let fixed = heading.split('…').max_by_key(|part| part.len()).unwrap();
        let around = |at: usize| {
            let (begin, end) = (code.floor_char_boundary(at.saturating_sub(300)), code.ceil_char_boundary(at + 600));
            text.is_match(&code[begin..end])
        };
        assert!(code.match_indices(fixed).any(|(at, _)| around(at)), "no text of the code is {heading:?}");
    }
}

#[test]
fn no_heading_stands_there_twice() {
    let mut all: Vec<&str> = headings().collect();
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(!all.is_empty());
}

#[test]
fn each_trouble_of_discovery_has_its_section() {
    for trouble in Trouble::ALL {
        assert!(headings().any(|heading| heading == trouble.text()), "{:?} is no heading", trouble.text());
    }
}

#[test]
fn each_error_of_usb_and_of_the_registrar_has_its_section() {
    let values = regex::Regex::new(r"\{[^{}]*\}").unwrap();
    let error = regex::Regex::new(r#"#\[error\("((?:[^"\\]|\\.)*)""#).unwrap();
    for code in
        [include_str!("../usb/error.rs"), include_str!("../registrar/error.rs"), include_str!("../tls/tunnel/error.rs")]
    {
        let mut texts =
            error.captures_iter(code).map(|found| values.replace_all(&found[1], "…").into_owned()).peekable();
        assert!(texts.peek().is_some());
        for text in texts {
            assert!(headings().any(|heading| heading == text), "{text:?} is no heading");
        }
    }
}
