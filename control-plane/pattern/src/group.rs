//! Groups and flags: `(a)`, `(?:a)`, `(?P<name>a)`, `(?i)`.

use super::{DEPTH, Error, Group, Parser, wrong};

impl<'p> Parser<'p> {
    pub(super) fn open(&mut self) -> Result<(), Error> {
        match self.rest.strip_prefix("(?") {
            Some(inner) => self.special(inner),
            None => {
                self.rest = &self.rest[1..];
                self.begin("(")
            }
        }
    }

    fn begin(&mut self, sign: &str) -> Result<(), Error> {
        self.out.push_str(sign);
        self.groups.push(Group::default());
        if self.groups.len() > DEPTH {
            return wrong("expression nests too deeply", self.pattern);
        }
        Ok(())
    }

    fn special(&mut self, inner: &'p str) -> Result<(), Error> {
        let whole = self.rest;
        let name = [inner.strip_prefix("P<"), inner.strip_prefix('<')].into_iter().flatten().find(|n| !n.is_empty());
        if let Some(name) = name {
            let Some(length) = name.find('>') else { return wrong("invalid named capture", whole) };
            let end = whole.len() - name.len() + length + 1;
            if length == 0 || !name[..length].chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return wrong("invalid named capture", &whole[..end]);
            }
            self.rest = &whole[end..];
            // Nobody asks for what a name captured.
            return self.begin("(");
        }
        let (mut negative, mut any) = (false, false);
        for (i, c) in inner.char_indices() {
            match c {
                'i' | 'm' | 's' | 'U' => any = true,
                '-' if !negative => (negative, any) = (true, false),
                ':' | ')' if !negative || any => {
                    self.rest = &inner[i + 1..];
                    return self.flags(&inner[..i], c == ':');
                }
                c => return wrong("invalid or unsupported Perl syntax", &whole[..2 + i + c.len_utf8()]),
            }
        }
        wrong("invalid or unsupported Perl syntax", whole)
    }

    fn flags(&mut self, flags: &str, group: bool) -> Result<(), Error> {
        match (flags, group) {
            (flags, true) => self.begin(&format!("(?{flags}:")),
            ("", false) => Ok(()),
            (flags, false) => {
                self.out.push_str(&format!("(?{flags})"));
                Ok(())
            }
        }
    }
}
