//! What a patch is made of.

use towline_patch::Token;

/// Tokens, literals as runs: there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// So many literals.
    Literals(u32),
    /// Bytes of the new image, from so far before.
    Match { distance: u32, len: u32 },
    /// Bytes that resemble those of the old image.
    Copy { from: u32, len: u32 },
}

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Literal,
    Match,
    Copy,
}

impl Tokens {
    /// Returns how many bytes they make.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Literals(len) | Self::Match { len, .. } | Self::Copy { len, .. } => len as usize,
        }
    }

    /// Returns the kind of each.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Literals(_) => Kind::Literal,
            Self::Match { .. } => Kind::Match,
            Self::Copy { .. } => Kind::Copy,
        }
    }

    /// Returns them one after the other.
    pub(crate) fn each(self) -> impl Iterator<Item = Token> {
        let (token, count) = match self {
            Self::Literals(count) => (Token::Literal, count),
            Self::Match { distance, len } => (Token::Match { distance, len }, 1),
            Self::Copy { from, len } => (Token::Copy { from, len }, 1),
        };
        std::iter::repeat_n(token, count as usize)
    }
}
