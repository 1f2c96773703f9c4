//! A tokenizer that is honest about comments and strings, and a reader of the paths among the tokens.

/// What a piece of source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword; `r#name` is `name`.
    Word(String),
    /// A string literal of any kind, without its quotes; escapes stay as they are.
    Text(String),
    /// A punctuation character; `::` is one `':'`-token called [`Kind::Path`].
    Mark(char),
    /// `::`
    Path,
    /// A number, a character or a lifetime: of no interest.
    Other,
}

/// A piece of source and its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
}

impl Token {
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(it) if it == word)
    }

    pub fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// The tokens of a source text, comments left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut scanner = Scanner { chars, at: 0, line: 1 };
    let mut all = Vec::new();
    while let Some(token) = scanner.next() {
        all.push(token);
    }
    all
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

fn starts_word(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_in_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn bump_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|&c| keep(c)) {
            text.push(c);
            self.bump();
        }
        text
    }

    fn next(&mut self) -> Option<Token> {
        self.skip_blank_and_comments();
        let line = self.line;
        let kind = match self.peek(0)? {
            '"' => self.text(),
            '\'' => self.quote(),
            ':' if self.peek(1) == Some(':') => {
                self.bump();
                self.bump();
                Kind::Path
            }
            c if c.is_ascii_digit() => self.number(),
            c if starts_word(c) => self.word(),
            c => {
                self.bump();
                Kind::Mark(c)
            }
        };
        Some(Token { kind, line })
    }

    fn skip_blank_and_comments(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if c.is_whitespace() => {
                    self.bump();
                }
                (Some('/'), Some('/')) => {
                    self.bump_while(|c| c != '\n');
                }
                (Some('/'), Some('*')) => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.bump();
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.bump();
                }
                (None, _) => return,
                _ => {}
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    /// From the opening quote.
    fn text(&mut self) -> Kind {
        self.bump();
        let mut text = String::new();
        while let Some(c) = self.bump() {
            match c {
                '"' => break,
                '\\' => {
                    text.push(c);
                    text.extend(self.bump());
                }
                _ => text.push(c),
            }
        }
        Kind::Text(text)
    }

    /// From the first `#` or quote behind `r`, `br` or `cr`; the caller has seen that a quote follows.
    fn raw_text(&mut self) -> Kind {
        let hashes = self.bump_while(|c| c == '#').len();
        self.bump();
        let mut text = String::new();
        while let Some(c) = self.bump() {
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                break;
            }
            text.push(c);
        }
        Kind::Text(text)
    }

    /// A character literal or a lifetime: `'a'` is one, `'a` the other, `'\''` and `'"'` must not open anything.
    fn quote(&mut self) -> Kind {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.bump();
            self.bump();
            self.bump_while(|c| c != '\'');
            self.bump();
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
        } else {
            self.bump_while(is_in_word);
        }
        Kind::Other
    }

    fn number(&mut self) -> Kind {
        self.bump_while(is_in_word);
        // `1.5` is a number; `1..n` and `tuple.0.max()` are not touched by leaving the dot alone.
        Kind::Other
    }

    fn word(&mut self) -> Kind {
        let word = self.bump_while(is_in_word);
        match (word.as_str(), self.peek(0)) {
            ("b" | "c", Some('"')) => return self.text(),
            ("b", Some('\'')) => return self.quote(),
            ("r" | "br" | "cr", Some('"')) => return self.raw_text(),
            ("r" | "br" | "cr", Some('#')) => {
                let hashes = self.chars[self.at..].iter().take_while(|&&c| c == '#').count();
                if self.peek(hashes) == Some('"') {
                    return self.raw_text();
                }
                if word == "r" && hashes == 1 && self.peek(1).is_some_and(starts_word) {
                    self.bump();
                    return Kind::Word(self.bump_while(is_in_word));
                }
            }
            _ => {}
        }
        Kind::Word(word)
    }
}

/// A path that begins with `crate`, `self` or `super`, its groups taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `["crate", "kernel", "gemm"]`; a glob ends with `*`.
    pub segments: Vec<String>,
    /// The modules around it inside the file, outermost first.
    pub modules: Vec<String>,
    pub line: usize,
}

/// All such paths of a file.
pub fn paths(tokens: &[Token]) -> Vec<Found> {
    let mut found = Vec::new();
    // Open braces; those that open a module carry its name.
    let mut braces: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        if token.is_word("mod")
            && tokens.get(at + 2).is_some_and(|it| it.is_mark('{'))
            && let Some(name) = tokens[at + 1].word()
        {
            braces.push(Some(name.to_owned()));
            at += 3;
            continue;
        }
        if token.is_mark('{') {
            braces.push(None);
        } else if token.is_mark('}') {
            braces.pop();
        } else if ["crate", "self", "super"].iter().any(|word| token.is_word(word)) {
            let next = tokens.get(at + 1);
            let inside = at > 0 && tokens[at - 1].kind == Kind::Path;
            let used = next.is_some_and(|it| it.kind == Kind::Path)
                || (!token.is_word("self") && next.is_some_and(|it| it.is_word("as")));
            if used && !inside {
                let mut all = Vec::new();
                at = tree(tokens, at, &mut Vec::new(), &mut all);
                let modules: Vec<String> = braces.iter().flatten().cloned().collect();
                let line = token.line;
                found.extend(all.into_iter().map(|segments| Found {
                    segments,
                    modules: modules.clone(),
                    line,
                }));
                continue;
            }
        }
        at += 1;
    }
    found
}

/// Reads a path or use tree at `at` behind `prefix`; gives the position behind it.
pub fn tree(tokens: &[Token], mut at: usize, prefix: &mut Vec<String>, all: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    loop {
        match tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Word(word)) => {
                prefix.push(word.clone());
                at += 1;
                if tokens.get(at).is_none_or(|token| token.kind != Kind::Path) {
                    all.push(prefix.clone());
                    break;
                }
                at += 1;
            }
            Some(Kind::Mark('*')) => {
                prefix.push("*".to_owned());
                all.push(prefix.clone());
                at += 1;
                break;
            }
            Some(Kind::Mark('{')) => {
                at += 1;
                while let Some(token) = tokens.get(at).filter(|token| !token.is_mark('}')) {
                    // `as name` and the commas; a leading `::` does not occur behind a prefix.
                    if token.is_word("as") {
                        at += 2;
                    } else if token.is_mark(',') {
                        at += 1;
                    } else {
                        let before = at;
                        at = tree(tokens, at, prefix, all);
                        at += usize::from(at == before);
                    }
                }
                at += 1;
                break;
            }
            // Generic arguments: `crate::a::<T>`; what stands in them is read on its own.
            _ => {
                all.push(prefix.clone());
                break;
            }
        }
    }
    prefix.truncate(depth);
    at
}

/// The tokens outside modules that only tests compile: `#[cfg(test)] mod name { .. }`.
pub fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is_mark('#') && tokens.get(at + 1).is_some_and(|it| it.is_mark('[')) {
            let end = behind(tokens, at + 1, '[', ']');
            let attribute = &tokens[at..end];
            let is_test = attribute.get(2).is_some_and(|it| it.is_word("cfg"))
                && attribute.iter().any(|it| it.is_word("test"))
                && !attribute.iter().any(|it| it.is_word("not") || it.is_word("any"));
            // Further attributes may stand between.
            let mut item = end;
            while tokens.get(item).is_some_and(|it| it.is_mark('#')) {
                item = behind(tokens, item + 1, '[', ']');
            }
            if is_test
                && tokens.get(item).is_some_and(|it| it.is_word("mod"))
                && tokens.get(item + 2).is_some_and(|it| it.is_mark('{'))
            {
                at = behind(tokens, item + 2, '{', '}');
                continue;
            }
        }
        kept.push(tokens[at].clone());
        at += 1;
    }
    kept
}

/// The position behind the bracket that closes the one at `open`.
fn behind(tokens: &[Token], open: usize, opening: char, closing: char) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += i32::from(token.is_mark(opening)) - i32::from(token.is_mark(closing));
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source).iter().filter_map(|token| token.word().map(str::to_owned)).collect()
    }

    fn all_paths(source: &str) -> Vec<String> {
        paths(&tokens(source)).into_iter().map(|found| found.segments.join("::")).collect()
    }

    #[test]
    fn comments_hold_no_words() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g //! h\n/// i\n/** j */ k"), ["a", "c", "g", "k"]);
        assert_eq!(words("a /* never closed"), ["a"]);
        assert_eq!(words("a / b /*/ c */ d"), ["a", "b", "d"]);
    }

    #[test]
    fn strings_hold_no_words() {
        assert_eq!(words(r#"a "b \" c // d" e"#), ["a", "e"]);
        assert_eq!(words(r##"a r#"b " c"# d br"e\" f b"g" c"h" cr#"i"# j"##), ["a", "d", "f", "j"]);
        assert_eq!(words("a \"b\\\\\" c \"/*\" d \"*/\" e"), ["a", "c", "d", "e"]);
        assert_eq!(tokens("\"rayon\"")[0].kind, Kind::Text("rayon".to_owned()));
    }

    #[test]
    fn quotes_are_told_apart() {
        assert_eq!(words("a 'b' c '\\'' d '\"' e '\\u{1F600}' f b'\\\\' g"), ["a", "c", "d", "e", "f", "g"]);
        // A lifetime or a label opens no literal.
        assert_eq!(words("fn f<'a>(x: &'a str) -> &'static str"), ["fn", "f", "x", "str", "str"]);
        assert_eq!(words("'outer: loop { break 'outer }"), ["loop", "break"]);
    }

    #[test]
    fn raw_words_and_numbers() {
        assert_eq!(words("r#unsafe r#type"), ["unsafe", "type"]);
        assert_eq!(words("1e5 0xFF_u8 x.0.max 1..n 2.5f32"), ["x", "max", "n"]);
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let source = "a\n\"x\ny\"\n/* \n */ b\nr#\"\n\"# c '\n' d";
        let lines: Vec<_> =
            tokens(source).iter().filter_map(|it| it.word().map(|word| (word.to_owned(), it.line))).collect();
        let expected = [("a", 1), ("b", 5), ("c", 7), ("d", 8)];
        assert_eq!(lines, expected.map(|(word, line)| (word.to_owned(), line)));
    }

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(all_paths("use crate::a::B;"), ["crate::a::B"]);
        let grouped = "use crate::{a, b::{self, c::D as E, *}, F};";
        let expected = ["crate::a", "crate::b::self", "crate::b::c::D", "crate::b::*", "crate::F"];
        assert_eq!(all_paths(grouped), expected);
        assert_eq!(all_paths("use super::super::{x, y};"), ["super::super::x", "super::super::y"]);
        assert_eq!(all_paths("use {crate::a, super::b};"), ["crate::a", "super::b"]);
        assert_eq!(all_paths("let x: crate::a::B<crate::c::D> = crate::e::f::<super::G>(1);").len(), 4);
        assert_eq!(all_paths("$crate::a::m!(self, self.x)"), ["crate::a::m"]);
        assert_eq!(all_paths("pub(crate) fn f(self) {} pub(super) x"), Vec::<String>::new());
        assert_eq!(all_paths("pub(in crate::a) fn f()"), ["crate::a"]);
        assert_eq!(all_paths("use crate as root; use super as up;"), ["crate", "super"]);
        assert_eq!(all_paths("use std::{fmt, io}; // crate::x\n\"crate::y\""), Vec::<String>::new());
    }

    #[test]
    fn modules_inside_a_file_are_followed() {
        let source = "use super::a; mod m { fn f() { use super::b; } mod n { use super::c; } } use super::d;";
        let modules: Vec<_> =
            paths(&tokens(source)).into_iter().map(|found| found.modules.join("::")).collect();
        assert_eq!(modules, ["", "m", "m::n", ""]);
    }

    #[test]
    fn test_modules_are_left_out() {
        let left = |source: &str| -> Vec<String> {
            without_tests(&tokens(source)).iter().filter_map(|it| it.word().map(str::to_owned)).collect()
        };
        assert_eq!(left("a #[cfg(test)] #[x] mod tests { b { c } } d"), ["a", "d"]);
        assert_eq!(left("#[cfg(not(test))] mod m { a }"), ["cfg", "not", "test", "mod", "m", "a"]);
        assert_eq!(left("#[cfg(test)] fn f() { a }"), ["cfg", "test", "fn", "f", "a"]);
    }
}
