//! The XML that Google Cloud Storage answers with: never a panic, and a name comes out as it went
//! in.

#[path = "../../../crates/mocha-session-gcs/src/markup.rs"]
mod markup;

use markup::{each_text, error_code};

pub(crate) fn run(bytes: &[u8]) {
    let mut seen = Vec::new();
    let read = each_text(bytes, |name, text| seen.push((name.to_owned(), text.to_owned())));
    assert!(seen.len() <= bytes.len(), "more elements than bytes");
    let code = error_code(bytes);
    let first = seen.iter().find(|(name, text)| name == "Code" && !text.is_empty());
    assert_eq!(code, first.map(|(_, text)| text.clone()).unwrap_or_default());
    if read.is_some() {
        assert!(std::str::from_utf8(bytes).is_ok());
    }
    // Every name that an object can have and that XML can say.
    let names: Vec<String> = bytes.split(|byte| *byte == 0).map(speakable).collect();
    let keys =
        names.iter().map(|name| format!("<Contents><Key>{}</Key></Contents>", escaped(name)));
    let listing = format!("<?xml version='1.0'?><List>{}<Empty/></List>", keys.collect::<String>());
    let mut found = Vec::new();
    each_text(listing.as_bytes(), |name, text| {
        if name == "Key" {
            found.push(text.to_owned());
        }
    })
    .expect("an escaped listing is XML");
    assert_eq!(found, names);
}

fn speakable(bytes: &[u8]) -> String {
    let in_xml = |char: &char| !char.is_control() && !matches!(char, '\u{fffe}' | '\u{ffff}');
    String::from_utf8_lossy(bytes).chars().filter(in_xml).collect()
}

/// As servers write it: what must be escaped by name or by number, in turns.
fn escaped(name: &str) -> String {
    let escape = |(at, char): (usize, char)| match char {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&apos;".to_owned(),
        _ if at % 7 == 6 => format!("&#x{:x};", u32::from(char)),
        _ if at % 11 == 10 => format!("&#{};", u32::from(char)),
        _ => char.to_string(),
    };
    name.chars().enumerate().map(escape).collect()
}
