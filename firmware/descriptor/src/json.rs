//! A JSON reader for small documents that come from the network.
//!
//! It works in the buffer that holds the document: strings are decoded in
//! place (their escapes only ever shrink) and handed out as slices of it, so
//! it needs no memory of its own. It is strict where leniency would let two
//! readers see different things: control characters and NUL in strings, lone
//! surrogates, bytes after the value and nesting deeper than [`MAX_DEPTH`] are
//! errors.

use core::{
    fmt, mem,
    str::{self, FromStr},
};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 16;

/// One value of an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string, decoded.
    String(Text<'a>),
    /// A number, as written.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An object or array: its text, well-formed, to be read by itself.
    Nested(&'a mut [u8]),
}

/// A decoded string, still in the buffer of its document.
#[derive(Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a mut [u8]);

impl<'a> Text<'a> {
    /// Returns the text.
    pub fn into_str(self) -> &'a str {
        // It was checked when it was made.
        str::from_utf8(self.0).unwrap_or_default()
    }

    /// Returns the bytes of the text, to be decoded further in place.
    pub fn into_bytes(self) -> &'a mut [u8] {
        self.0
    }
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// It is not UTF-8.
    Encoding,
    /// It is not JSON, or not an object where one is needed.
    Syntax,
    /// It nests deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl<'a> Value<'a> {
    /// Returns the text, if this is a string.
    pub fn into_str(self) -> Option<&'a str> {
        match self {
            Self::String(text) => Some(text.into_str()),
            _ => None,
        }
    }

    /// Returns the number, if this is a whole one that fits.
    pub fn as_number<T: FromStr>(&self) -> Option<T> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Returns the truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

/// Reads `document`, which must be one object, and calls `field` with each of
/// its members in order.
///
/// # Errors
/// The document's own faults as `E::from(JsonError)`, and whatever `field`
/// returns.
pub fn read_object<'a, E: From<JsonError>>(
    document: &'a mut [u8],
    mut field: impl FnMut(&'a str, Value<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut fault = None;
    members(document, [b'{', b'}'], &mut |key, value| match field(key, value) {
        Ok(()) => true,
        Err(error) => {
            fault = Some(error);
            false
        }
    })?;
    fault.map_or(Ok(()), Err)
}

/// Reads `document`, which must be one array, and calls `element` with each of
/// its values in order.
///
/// # Errors
/// The document's own faults as `E::from(JsonError)`, and whatever `element`
/// returns.
pub fn read_array<'a, E: From<JsonError>>(
    document: &'a mut [u8],
    mut element: impl FnMut(Value<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut fault = None;
    members(document, [b'[', b']'], &mut |_, value| match element(value) {
        Ok(()) => true,
        Err(error) => {
            fault = Some(error);
            false
        }
    })?;
    fault.map_or(Ok(()), Err)
}

/// Reads what stands between these brackets, the members of an object with their
/// keys, until `each` returns false.
///
/// Not generic: a document has a dozen kinds of objects, and firmware would
/// have as many readers.
fn members<'a>(
    document: &'a mut [u8],
    [open, close]: [u8; 2],
    each: &mut dyn FnMut(&'a str, Value<'a>) -> bool,
) -> Result<(), JsonError> {
    str::from_utf8(document).map_err(|_| JsonError::Encoding)?;
    let mut reader = Reader { rest: document };
    reader.expect(open)?;
    if !reader.accept(close) {
        loop {
            reader.skip_space();
            let mut key = "";
            if open == b'{' {
                key = reader.string()?.into_str();
                reader.expect(b':')?;
            }
            if !each(key, reader.value()?) {
                return Ok(());
            }
            if !reader.accept(b',') {
                reader.expect(close)?;
                break;
            }
        }
    }
    reader.skip_space();
    if reader.rest.is_empty() { Ok(()) } else { Err(JsonError::Syntax) }
}

/// Takes the document apart from its front.
struct Reader<'a> {
    rest: &'a mut [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> &'a mut [u8] {
        let (head, rest) = mem::take(&mut self.rest).split_at_mut(len);
        self.rest = rest;
        head
    }

    fn skip_space(&mut self) {
        let space = scan_space(self.rest, 0);
        self.take(space);
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.rest.first() == Some(&byte);
        if found {
            self.take(1);
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.accept(byte) { Ok(()) } else { Err(JsonError::Syntax) }
    }

    fn value(&mut self) -> Result<Value<'a>, JsonError> {
        self.skip_space();
        let end = scan_value(self.rest, 0, 0)?;
        match self.rest[0] {
            b'"' => self.string().map(Value::String),
            b'{' | b'[' => Ok(Value::Nested(self.take(end))),
            _ => Ok(match ascii(self.take(end))? {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                number => Value::Number(number),
            }),
        }
    }

    fn string(&mut self) -> Result<Text<'a>, JsonError> {
        let end = scan_string(self.rest, 0)?;
        let quoted = self.take(end);
        let text = &mut quoted[1..end - 1];
        let len = decode_escapes(text)?;
        let text = &mut text[..len];
        str::from_utf8(text).map_err(|_| JsonError::Encoding)?;
        Ok(Text(text))
    }
}

fn ascii(bytes: &[u8]) -> Result<&str, JsonError> {
    str::from_utf8(bytes).map_err(|_| JsonError::Encoding)
}

/// Returns the index of the first byte at or after `at` that is not space.
fn scan_space(text: &[u8], at: usize) -> usize {
    text[at..]
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
        .map_or(text.len(), |space| at + space)
}

/// Returns the index after the value that starts at `at`.
fn scan_value(text: &[u8], at: usize, depth: usize) -> Result<usize, JsonError> {
    match text.get(at).ok_or(JsonError::Syntax)? {
        b'"' => scan_string(text, at),
        b'{' | b'[' if depth == MAX_DEPTH => Err(JsonError::TooDeep),
        b'{' => scan_members(text, at, b'}', |text, at| {
            let colon = scan_space(text, scan_string(text, at)?);
            if text.get(colon) != Some(&b':') {
                return Err(JsonError::Syntax);
            }
            scan_value(text, scan_space(text, colon + 1), depth + 1)
        }),
        b'[' => scan_members(text, at, b']', |text, at| scan_value(text, at, depth + 1)),
        b't' => scan_word(text, at, b"true"),
        b'f' => scan_word(text, at, b"false"),
        b'n' => scan_word(text, at, b"null"),
        _ => scan_number(text, at),
    }
}

fn scan_members(
    text: &[u8],
    open: usize,
    close: u8,
    member: impl Fn(&[u8], usize) -> Result<usize, JsonError>,
) -> Result<usize, JsonError> {
    let mut at = scan_space(text, open + 1);
    if text.get(at) == Some(&close) {
        return Ok(at + 1);
    }
    loop {
        at = scan_space(text, member(text, at)?);
        match text.get(at) {
            Some(b',') => at = scan_space(text, at + 1),
            Some(byte) if *byte == close => return Ok(at + 1),
            _ => return Err(JsonError::Syntax),
        }
    }
}

fn scan_word(text: &[u8], at: usize, word: &[u8]) -> Result<usize, JsonError> {
    if text[at..].starts_with(word) { Ok(at + word.len()) } else { Err(JsonError::Syntax) }
}

fn scan_number(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let digits = |at: usize| {
        let count = text[at.min(text.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 { Err(JsonError::Syntax) } else { Ok(at + count) }
    };
    let start = at + usize::from(text[at] == b'-');
    let mut end = digits(start)?;
    if text[start] == b'0' && end > start + 1 {
        return Err(JsonError::Syntax);
    }
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        end += 1;
        end = digits(end + usize::from(matches!(text.get(end), Some(b'+' | b'-'))))?;
    }
    Ok(end)
}

/// Returns the index after the closing quote of the string that starts at
/// `at`, whose escapes are sound.
fn scan_string(text: &[u8], at: usize) -> Result<usize, JsonError> {
    if text.get(at) != Some(&b'"') {
        return Err(JsonError::Syntax);
    }
    let mut at = at + 1;
    loop {
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += parse_escape(&text[at..])?.1,
            Some(0x20..) => at += 1,
            _ => return Err(JsonError::Syntax),
        }
    }
}

/// Decodes the escapes of a string in place and returns its new length.
fn decode_escapes(text: &mut [u8]) -> Result<usize, JsonError> {
    let (mut read, mut write) = (0, 0);
    while read < text.len() {
        if text[read] != b'\\' {
            text[write] = text[read];
            (read, write) = (read + 1, write + 1);
            continue;
        }
        let (decoded, len) = parse_escape(&text[read..])?;
        read += len;
        // At most 4 bytes for the 6 or 12 that were read.
        write += decoded.encode_utf8(&mut text[write..read]).len();
    }
    Ok(write)
}

/// Parses the escape that `text` starts with; returns the character and the
/// bytes that it took.
fn parse_escape(text: &[u8]) -> Result<(char, usize), JsonError> {
    let decoded = match text.get(1) {
        Some(mark @ (b'"' | b'\\' | b'/')) => char::from(*mark),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return parse_unicode(text),
        _ => return Err(JsonError::Syntax),
    };
    Ok((decoded, 2))
}

/// Parses `\uXXXX`, or a surrogate pair of them; returns the character and
/// the bytes that it took.
fn parse_unicode(text: &[u8]) -> Result<(char, usize), JsonError> {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6).filter(|escape| escape.starts_with(b"\\u"));
        let digits = ascii(&escape.ok_or(JsonError::Syntax)?[2..])?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(JsonError::Syntax);
        }
        u32::from_str_radix(digits, 16).map_err(|_| JsonError::Syntax)
    };
    let (code, len) = match unit(0)? {
        0 => return Err(JsonError::Syntax),
        high @ 0xD800..0xDC00 => match unit(6)? {
            low @ 0xDC00..0xE000 => (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), 12),
            _ => return Err(JsonError::Syntax),
        },
        code => (code, 6),
    };
    char::from_u32(code).map(|decoded| (decoded, len)).ok_or(JsonError::Syntax)
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoding => f.write_str("not UTF-8"),
            Self::Syntax => f.write_str("not a JSON object"),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

impl core::error::Error for JsonError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        borrow::ToOwned,
        format,
        string::{String, ToString},
        vec::Vec,
    };

    /// Reads an object the way a descriptor is read, as text.
    fn read(document: &str) -> Result<Vec<String>, JsonError> {
        let mut bytes = document.as_bytes().to_vec();
        let mut seen = Vec::new();
        read_object(&mut bytes, |key, value| {
            seen.push(match value {
                Value::Nested(text) => format!("{key}={}", str::from_utf8(text).unwrap()),
                Value::String(text) => format!("{key}=String({:?})", text.into_str()),
                value => format!("{key}={value:?}"),
            });
            Ok::<_, JsonError>(())
        })?;
        Ok(seen)
    }

    #[test]
    fn escapes_are_checked_where_nobody_looks_too() {
        for text in ["\\u,041", "\\x", "\\ud83d", "\\udc00", "\\u0000", "\\u00"] {
            let document = format!("{{\"a\":[{{\"b\":\"{text}\"}}]}}");
            assert_eq!(read(&document), Err(JsonError::Syntax), "{document}");
            let document = format!("{{\"a\":{{\"{text}\":1}}}}");
            assert_eq!(read(&document), Err(JsonError::Syntax), "{document}");
        }
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let seen = read(
            r#" { "a" : "x" , "b":-1.5e3,"c":true,"d":false,"e":null,"f":[1,{"g":"}"}], "h":{} } "#,
        );
        let expected = [
            "a=String(\"x\")",
            "b=Number(\"-1.5e3\")",
            "c=Bool(true)",
            "d=Bool(false)",
            "e=Null",
            r#"f=[1,{"g":"}"}]"#,
            "h={}",
        ];
        assert_eq!(seen.unwrap(), expected);
    }

    #[test]
    fn arrays_are_read() {
        let mut document = *br#" [1, "a\u0062", [2], {"c": 3} ] "#;
        let mut seen = Vec::new();
        read_array::<JsonError>(&mut document, |value| {
            seen.push(match value {
                Value::Nested(text) => str::from_utf8(text).unwrap().to_owned(),
                Value::String(text) => text.into_str().to_owned(),
                value => format!("{value:?}"),
            });
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, ["Number(\"1\")", "ab", "[2]", "{\"c\": 3}"]);
        for faulty in ["", "{}", "[1", "[1,]", "[,]", "[1 2]", "[]]", "[1]x"] {
            let result = read_array::<JsonError>(&mut faulty.as_bytes().to_vec(), |_| Ok(()));
            assert_eq!(result, Err(JsonError::Syntax), "{faulty}");
        }
    }

    #[test]
    fn escapes_are_decoded() {
        let seen = read(r#"{"\u0061\/":"\"\\\n\u00e9\ud83d\ude80z"}"#).unwrap();
        assert_eq!(seen, [format!("a/=String({:?})", "\"\\\n\u{e9}\u{1f680}z")]);
    }

    #[test]
    fn malformed_documents_are_refused() {
        for document in [
            "",
            "[]",
            "{",
            "{}x",
            "{}{}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":-}",
            "{\"a\":+1}",
            "{\"a\":1e}",
            "{\"a\":nul}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u0000\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\0\"}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "\u{feff}{}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "{\"a\":{\"b\" 1}}",
            "{\"a\":\"\\u+123\"}",
        ] {
            assert_eq!(read(document), Err(JsonError::Syntax), "{document:?}");
        }
        assert_eq!(
            read_object::<JsonError>(&mut [b'{', 0xff, b'}'], |_, _| Ok(())),
            Err(JsonError::Encoding)
        );
    }

    #[test]
    fn deep_nesting_is_refused_before_it_costs_stack() {
        let deep = format!("{{\"a\":{}", "[".repeat(4000));
        assert_eq!(read(&deep), Err(JsonError::TooDeep));
        let allowed = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(read(&allowed).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_object::<JsonError>(&mut bytes, |_, _| Ok(()));
        }

        #[test]
        fn what_is_accepted_serde_json_accepts_too(inner in "[{}\\[\\]\":,0-9a-z\\\\ .eu-]{0,24}") {
            let document = format!("{{\"k\":{inner}}}");
            if read(&document).is_ok() {
                // serde_json decodes only what it keeps: nested strings with
                // bad escapes are caught there and by our own second reading.
                let theirs = serde_json::from_str::<serde_json::Value>(&document);
                prop_assert!(theirs.is_ok() || inner.contains('\\') || inner.contains('e'), "{document}: {theirs:?}");
            }
        }

        #[test]
        fn what_serde_json_writes_is_read_back(text in ".{0,60}") {
            prop_assume!(!text.contains('\0'));
            let document = serde_json::json!({ "k": text }).to_string();
            let mut bytes = document.into_bytes();
            read_object(&mut bytes, |_, value| {
                assert_eq!(value.into_str(), Some(&*text));
                Ok::<_, JsonError>(())
            }).unwrap();
        }
    }
}
