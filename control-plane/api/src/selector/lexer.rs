//! The tokens of a label selector.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    End,
    Identifier,
    In,
    NotIn,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    Open,
    Close,
    Comma,
    /// Symbols that mean nothing.
    Bad,
}

fn symbol(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// All tokens with their text; the last one is [`Token::End`].
pub(super) fn tokens(input: &str) -> Vec<(Token, &str)> {
    let mut out = Vec::new();
    let mut rest = input.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let (token, len) = match is_symbol(first) {
            true => longest_symbol(rest),
            false => {
                let len = rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len());
                let token = match &rest[..len] {
                    "in" => Token::In,
                    "notin" => Token::NotIn,
                    _ => Token::Identifier,
                };
                (token, len)
            }
        };
        out.push((token, &rest[..len]));
        rest = rest[len..].trim_start_matches(is_space);
    }
    out.push((Token::End, ""));
    out
}

/// Every symbol is a token of its own, and some pairs are one.
fn longest_symbol(rest: &str) -> (Token, usize) {
    [2, 1].iter().find_map(|n| Some((symbol(rest.get(..*n)?)?, *n))).unwrap_or((Token::Bad, 1))
}
