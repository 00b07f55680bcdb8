//! DEFLATE (RFC 1951), for answers that come compressed though nobody asked: small before fast, because a token answer
//! is small as well.

/// The compressed data, bit by bit.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The number of bits already read from the first byte.
    used: u32,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<usize> {
        let mut value = 0;
        for at in 0..count {
            let (first, rest) = self.bytes.split_first()?;
            // RFC 1951 §3.1.1: "Data elements are packed into bytes in order of increasing bit number".
            value |= usize::from(first >> self.used & 1) << at;
            self.used += 1;
            if self.used == 8 {
                (self.bytes, self.used) = (rest, 0);
            }
        }
        Some(value)
    }

    /// RFC 1951 §3.2.4: "Any bits of input up to the next byte boundary are ignored."
    fn stored(&mut self) -> Option<&[u8]> {
        if self.used > 0 {
            (self.bytes, self.used) = (self.bytes.get(1..)?, 0);
        }
        let length = self.take(16)?;
        let complement = self.take(16)?;
        let (stored, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        (length == !complement & 0xffff).then_some(stored)
    }
}

const LONGEST_CODE: usize = 15;

/// A canonical Huffman code (RFC 1951 §3.2.2): how many codes there are of each length, and the symbols in their order.
struct Code {
    counts: [usize; LONGEST_CODE + 1],
    symbols: Vec<usize>,
}

impl Code {
    fn of(lengths: &[usize]) -> Self {
        let mut counts = [0; LONGEST_CODE + 1];
        let mut symbols = Vec::with_capacity(lengths.len());
        for (wanted, count) in counts.iter_mut().enumerate().skip(1) {
            let before = symbols.len();
            let of_length = lengths
                .iter()
                .enumerate()
                .filter(|(_, length)| **length == wanted);
            symbols.extend(of_length.map(|(symbol, _)| symbol));
            *count = symbols.len() - before;
        }
        Self { counts, symbols }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in self.counts.iter().skip(1) {
            // RFC 1951 §3.1.1: Huffman codes come "starting with the most-significant bit of the code".
            code |= bits.take(1)?;
            if code < first + count {
                return self
                    .symbols
                    .get(index + (code.checked_sub(first)?))
                    .copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// Decompresses into that much room, and gives what follows the data; none if they are damaged, cut off, or larger.
/// Those that are larger leave no room.
pub(super) fn inflate<'a>(
    compressed: &'a [u8],
    output: &mut Vec<u8>,
    size: usize,
) -> Option<&'a [u8]> {
    let mut bits = Bits {
        bytes: compressed,
        used: 0,
    };
    let mut is_last = false;
    while !is_last {
        is_last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => {
                let stored = bits.stored()?;
                room(output, size, stored.len())?;
                output.extend_from_slice(stored);
            }
            1 => {
                // RFC 1951 §3.2.6
                let literals = [(8, 144), (9, 112), (7, 24), (8, 8)];
                let lengths = literals.map(|(length, times)| vec![length; times]).concat();
                block(
                    &mut bits,
                    output,
                    size,
                    &Code::of(&lengths),
                    &Code::of(&[5; 30]),
                )?;
            }
            2 => {
                let (literals, distances) = codes(&mut bits)?;
                block(&mut bits, output, size, &literals, &distances)?;
            }
            _ => return None,
        }
    }
    // The rest of a byte that was begun belongs to the data.
    bits.bytes.get(usize::from(bits.used > 0)..)
}

fn room(output: &mut Vec<u8>, size: usize, needed: usize) -> Option<()> {
    if needed > size.checked_sub(output.len())? {
        output.resize(size, 0);
        return None;
    }
    Some(())
}

/// The codes of a block that brings its own (RFC 1951 §3.2.7).
fn codes(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    const ORDER: [usize; 19] = [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ];
    let literals = bits.take(5)? + 257;
    let distances = bits.take(5)? + 1;
    let given = bits.take(4)? + 4;
    let mut lengths = [0; 19];
    for symbol in ORDER.into_iter().take(given) {
        *lengths.get_mut(symbol)? = bits.take(3)?;
    }
    let code = Code::of(&lengths);
    let mut lengths: Vec<usize> = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let (length, times) = match code.symbol(bits)? {
            16 => (*lengths.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    let (of_literals, of_distances) = lengths.split_at_checked(literals)?;
    let of_distances = of_distances.get(..distances)?;
    Some((Code::of(of_literals), Code::of(of_distances)))
}

fn block(
    bits: &mut Bits<'_>,
    output: &mut Vec<u8>,
    size: usize,
    literals: &Code,
    distances: &Code,
) -> Option<()> {
    loop {
        let symbol = literals.symbol(bits)?;
        if let Ok(byte) = u8::try_from(symbol) {
            room(output, size, 1)?;
            output.push(byte);
            continue;
        }
        // RFC 1951 §3.2.5: 256 is the end of the block; longer lengths and distances have ever more extra bits.
        let length = match symbol {
            256 => return Some(()),
            257..=264 => symbol - 254,
            265..=284 => {
                let extra = (symbol - 261) / 4;
                let step = u32::try_from(extra).ok()?;
                3 + ((4 + (symbol - 265) % 4) << extra) + bits.take(step)?
            }
            285 => 258,
            _ => return None,
        };
        let distance = match distances.symbol(bits)? {
            short @ 0..=3 => short + 1,
            long @ 4..=29 => {
                let extra = long / 2 - 1;
                let step = u32::try_from(extra).ok()?;
                1 + ((2 + long % 2) << extra) + bits.take(step)?
            }
            _ => return None,
        };
        room(output, size, length)?;
        for _ in 0..length {
            let from = output.len().checked_sub(distance)?;
            output.push(*output.get(from)?);
        }
    }
}
