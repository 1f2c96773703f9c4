//! JSON (RFC 8259): read without a tree, so that memory does not follow what a text claims, and written.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Which part.
    pub what: String,
    /// What it should have been.
    pub expected: String,
    /// What it was.
    pub got: String,
}

impl Fault {
    pub(crate) fn new(what: impl fmt::Display, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self { what: what.to_string(), expected: expected.to_string(), got: got.to_string() }
    }
}

/// How deep values that nobody asks for may be nested.
const DEEPEST: usize = 64;

/// A short form of a text from outside, for an error.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

/// Reads a text from some place on.
#[derive(Clone, Debug)]
pub(crate) struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// From byte `at` on, which begins a character.
    pub(crate) fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// The next byte that is not a space; `None` at the end.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Where the next value begins.
    pub(crate) fn position(&mut self) -> usize {
        self.peek();
        self.at
    }

    pub(crate) fn fault(&self, expected: impl fmt::Display) -> Fault {
        let got = match self.text[self.at..].chars().next() {
            Some(character) => format!("{character:?}"),
            None => "the end".to_owned(),
        };
        Fault::new(format_args!("byte {} of the JSON", self.at), expected, got)
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), Fault> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.fault(expected))
    }

    /// Nothing but spaces is left.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        if self.peek().is_none() { Ok(()) } else { Err(self.fault("the end")) }
    }

    /// Hands the position of each key of an object, and the key, to `member`, which reads the value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, usize, Cow<'a, str>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.list(b'{', b'}', "an object", "`,` or `}`", |parser| {
            let at = parser.position();
            let key = parser.string()?;
            parser.take(b':', "`:`")?;
            member(parser, at, key)
        })
    }

    /// Has `element` read each element of an array.
    pub(crate) fn array(&mut self, element: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.list(b'[', b']', "an array", "`,` or `]`", element)
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        what: &'static str,
        between: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.take(open, what)?;
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.fault(between)),
            }
        }
    }

    /// A string; without escapes it is a part of the text.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.take(b'"', "a string")?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut owned: Option<String> = None;
        let mut copied = start;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    let rest = &self.text[copied..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(rest),
                        Some(mut text) => {
                            text.push_str(rest);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    // An escape is longer than what it stands for.
                    let text =
                        owned.get_or_insert_with(|| String::with_capacity(rest_of_string(&bytes[start..])));
                    text.push_str(&self.text[copied..self.at]);
                    text.push(self.escape()?);
                    copied = self.at;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(self.fault("a character of a string or `\"`")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let character = match self.text.as_bytes().get(self.at) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.fault("an escape")),
        };
        self.at += 1;
        Ok(character)
    }

    /// What stands behind `\u`: one unit of UTF-16, or two.
    fn unicode(&mut self) -> Result<char, Fault> {
        let begin = self.at;
        let high = self.hex()?;
        let mut code = high;
        if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            }
        }
        char::from_u32(code).ok_or_else(|| {
            self.at = begin;
            self.fault("a character (half of a surrogate pair is none)")
        })
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let code = digits.and_then(|digits| {
            digits.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
        });
        let code = code.ok_or_else(|| self.fault("four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }

    /// A number as it is written.
    pub(crate) fn number(&mut self) -> Result<&'a str, Fault> {
        self.peek();
        let start = self.at;
        let begin = usize::from(self.text.as_bytes().get(start) == Some(&b'-'));
        self.at += begin;
        match self.text.as_bytes().get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.fault("a number")),
        }
        if self.text.as_bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.as_bytes().get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.as_bytes().get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let bytes = &self.text.as_bytes()[self.at..];
        let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.fault("a digit")) } else { Ok(()) }
    }

    /// A number without sign, fraction and exponent that fits.
    pub(crate) fn unsigned(&mut self) -> Result<u64, Fault> {
        let at = self.position();
        let number = self.number()?;
        number.parse().map_err(|_| {
            Fault::new(format_args!("byte {at} of the JSON"), "an integer from 0 to 2^64 - 1", short(number))
        })
    }

    /// A number that is finite as f64, rounded to the nearest.
    pub(crate) fn float(&mut self) -> Result<f64, Fault> {
        let at = self.position();
        let number = self.number()?;
        number.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(|| {
            Fault::new(format_args!("byte {at} of the JSON"), "a number that f64 holds", short(number))
        })
    }

    /// `true`, `false` or `null`.
    pub(crate) fn word(&mut self) -> Result<&'static str, Fault> {
        self.peek();
        for word in ["true", "false", "null"] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(word);
            }
        }
        Err(self.fault("a value"))
    }

    /// Any value, checked and left.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > DEEPEST {
            return Err(self.fault(format_args!("values nested at most {DEEPEST} deep")));
        }
        match self.peek() {
            Some(b'{') => self.object(|parser, _, _| parser.skip_at(depth + 1)),
            Some(b'[') => self.array(|parser| parser.skip_at(depth + 1)),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => self.word().map(drop),
        }
    }
}

/// How many bytes come before the quote that ends a string.
fn rest_of_string(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None | Some(b'"') => return at.min(bytes.len()),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// Appends a string with its quotes.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\u{0}'..='\u{1f}' => push(out, format_args!("\\u{:04x}", character as u32)),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Appends a finite number so that it reads back with the same bits.
pub(crate) fn push_number(out: &mut String, value: f64) {
    push(out, format_args!("{value:?}"));
}

/// Appends what is formatted.
pub(crate) fn push(out: &mut String, arguments: fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::{Parser, push_number, push_string, short};

    fn skips(text: &str) -> bool {
        let mut parser = Parser::new(text, 0);
        parser.skip().and_then(|()| parser.end()).is_ok()
    }

    #[test]
    fn values_of_the_standard_and_nothing_else() {
        for good in [
            "0",
            "-0",
            "-0.5e-3",
            "1E+9",
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            "{\"a\":{\"b\":[null,true,false]}}\n",
            "\"\\u00e9\\ud83d\\ude00\\n\\/\"",
            "\"é😀\"",
        ] {
            assert!(skips(good), "{good}");
        }
        for bad in [
            "",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "-",
            "NaN",
            "Infinity",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "\"a",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "nul",
            "true1",
            "[",
            "{",
            "1 1",
            "\u{a0}1",
            "//",
            "\"\\ud800\\u0041\"",
        ] {
            assert!(!skips(bad), "{bad}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(skips(&deep(65)) && !skips(&deep(66)) && !skips(&deep(1_000_000)));
    }

    #[test]
    fn strings_and_numbers_come_back() {
        for text in ["", "plain", "\"\\/\n\t\u{0}\u{1f}\u{7f}é😀\u{10ffff}"] {
            let mut written = String::new();
            push_string(&mut written, text);
            assert_eq!(Parser::new(&written, 0).string().unwrap(), text);
        }
        for value in [0.0, -0.0, 1.0, 0.1, 1e-8, 1e300, 5e-324, f64::MAX, f64::MIN_POSITIVE, 1.0 / 3.0] {
            let mut written = String::new();
            push_number(&mut written, value);
            assert_eq!(Parser::new(&written, 0).float().unwrap().to_bits(), value.to_bits(), "{written}");
        }
        assert_eq!(Parser::new("18446744073709551615", 0).unsigned(), Ok(u64::MAX));
        for bad in ["18446744073709551616", "-1", "1.0", "1e3"] {
            assert!(Parser::new(bad, 0).unsigned().is_err(), "{bad}");
        }
        assert!(Parser::new("1e999", 0).float().is_err());
    }

    #[test]
    fn faults_say_where() {
        let fault = Parser::new("{\"a\" 1}", 0).skip().unwrap_err();
        assert_eq!(
            (fault.what.as_str(), fault.expected.as_str(), fault.got.as_str()),
            ("byte 5 of the JSON", "`:`", "'1'")
        );
        assert_eq!(short(&"x".repeat(1000)).len(), 65);
    }
}
