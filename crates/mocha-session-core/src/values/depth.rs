//! Measures how deep an encoded value is nested, without decoding it.

use rmp::Marker;

/// Returns whether the value is nested deeper than `most` levels. Returns `false` for damaged
/// bytes, which the decoder refuses.
pub(super) fn exceeds(bytes: &[u8], most: usize) -> bool {
    if bytes.len() <= most {
        return false;
    }
    // Each level has a marker byte, so a value with few such bytes need not be walked. The counts
    // are bytes, so that the compiler can vectorise the loop.
    let opens = |byte: &u8| u8::from(matches!(byte, 0x80..=0x9f | 0xdc..=0xdf));
    let count = |chunk: &[u8]| usize::from(chunk.iter().map(opens).sum::<u8>());
    let markers: usize = bytes.chunks(255).map(count).sum();
    markers > most && Walk { rest: bytes }.exceeds(most).unwrap_or(false)
}

enum Token {
    Leaf,
    /// The start of a sequence or map with this many items.
    Open(usize),
}

struct Walk<'b> {
    rest: &'b [u8],
}

impl Walk<'_> {
    /// Returns `None` if the bytes end too early.
    fn exceeds(&mut self, most: usize) -> Option<bool> {
        // The number of remaining items of each open level.
        let mut open = vec![1_usize];
        while let Some(items) = open.last_mut() {
            if *items == 0 {
                open.pop();
                continue;
            }
            *items -= 1;
            if let Token::Open(items) = self.token()? {
                if open.len() > most {
                    return Some(true);
                }
                open.push(items);
            }
        }
        Some(false)
    }

    /// Reads the next token.
    fn token(&mut self) -> Option<Token> {
        let (&marker, rest) = self.rest.split_first()?;
        self.rest = rest;
        let skipped = match Marker::from_u8(marker) {
            Marker::FixArray(items) => return Some(Token::Open(items.into())),
            Marker::FixMap(entries) => return Some(Token::Open(usize::from(entries) * 2)),
            Marker::Array16 => return Some(Token::Open(self.number::<2>()?)),
            Marker::Array32 => return Some(Token::Open(self.number::<4>()?)),
            Marker::Map16 => return Some(Token::Open(self.number::<2>()? * 2)),
            Marker::Map32 => return Some(Token::Open(self.number::<4>()?.checked_mul(2)?)),
            Marker::FixStr(bytes) => bytes.into(),
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::FixExt4 => 5,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Str8 | Marker::Bin8 => self.number::<1>()?,
            Marker::Str16 | Marker::Bin16 => self.number::<2>()?,
            Marker::Str32 | Marker::Bin32 => self.number::<4>()?,
            Marker::Ext8 => self.number::<1>()? + 1,
            Marker::Ext16 => self.number::<2>()? + 1,
            Marker::Ext32 => self.number::<4>()?.checked_add(1)?,
            Marker::FixPos(_)
            | Marker::FixNeg(_)
            | Marker::Null
            | Marker::Reserved
            | Marker::False
            | Marker::True => 0,
        };
        self.rest = self.rest.get(skipped..)?;
        Some(Token::Leaf)
    }

    fn number<const N: usize>(&mut self) -> Option<usize> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        bytes.iter().try_fold(0_usize, |number, byte| {
            number.checked_mul(256)?.checked_add(usize::from(*byte))
        })
    }
}
