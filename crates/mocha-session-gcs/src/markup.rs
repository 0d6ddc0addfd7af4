//! The XML of listings and errors. It depends on no other module, so that the fuzzer can include
//! it.

use quick_xml::events::Event;

/// Returns the `Code` of an error in XML; empty when there is none.
pub(crate) fn error_code(body: &[u8]) -> String {
    let mut code = String::new();
    let _ = each_text(body, |element, text| {
        if element == "Code" && code.is_empty() {
            text.clone_into(&mut code);
        }
    });
    code
}

/// Calls `visit` with the name and the text of every element that contains text only, or nothing.
/// Returns `None` for malformed XML.
pub(crate) fn each_text(xml: &[u8], mut visit: impl FnMut(&str, &str)) -> Option<()> {
    let mut reader = quick_xml::Reader::from_str(std::str::from_utf8(xml).ok()?);
    let mut text = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(_) => text.clear(),
            Event::Empty(element) => visit(element.local_name().as_ref(), ""),
            Event::Text(part) => text.push_str(&part.xml10_content()),
            Event::CData(part) => text.push_str(&part.into_inner()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(char) => text.push(char),
                None => text.push_str(quick_xml::escape::resolve_predefined_entity(&reference)?),
            },
            Event::End(end) => {
                visit(end.local_name().as_ref(), &text);
                text.clear();
            }
            Event::Eof => return Some(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read() {
        let xml = b"<?xml version='1.0' encoding='UTF-8'?>\n<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>\
            <Name>b</Name><Contents><Key>a&amp;b&#x2F;c</Key><Generation>1</Generation></Contents>\
            <Contents><Key>d</Key></Contents><NextContinuationToken>t</NextContinuationToken><Empty/></ListBucketResult>";
        let mut seen = Vec::new();
        each_text(xml, |name, text| seen.push(format!("{name}={text}"))).unwrap();
        let all =
            ["Name=b", "Key=a&b/c", "Generation=1", "Key=d", "NextContinuationToken=t", "Empty="];
        for text in all {
            assert!(seen.iter().any(|s| s == text), "{text} in {seen:?}");
        }
        for broken in [&b"<a><b></a>"[..], b"<a>&unknown;</a>", b"\xff"] {
            assert!(each_text(broken, |_, _| {}).is_none());
        }
    }

    #[test]
    fn error_codes_are_found() {
        let xml = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>";
        assert_eq!(error_code(xml), "NoSuchKey");
        assert_eq!(error_code(b""), "");
        assert_eq!(error_code(b"<html><p>no</html>"), "");
    }
}
