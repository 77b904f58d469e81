//! Writes a flat table as a Parquet file.
//!
//! Only what a part of a sweep needs of the format: one row group, required columns, plain values, no compression. The
//! `parquet` crate would do, but turns on features in crates under the EVM, which are then built once more for the
//! simulator alone. The format: <https://parquet.apache.org/docs/file-format/>; its metadata are Thrift structures in the
//! compact protocol.

use std::io::{self, Write};

/// The values of a column.
pub(super) enum Values {
    /// UTF-8 text.
    Text(Vec<String>),
    /// Unsigned numbers of 64 bits.
    Count(Vec<u64>),
    /// Unsigned numbers of 32 bits.
    Small(Vec<u32>),
    /// Floating-point numbers.
    Real(Vec<f64>),
}

/// A column: its name and its values, as many as the table has rows.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) values: Values,
}

const MAGIC: &[u8] = b"PAR1";
/// The format's numbers: of physical types, of what they mean, and of the one encoding.
const INT32: i64 = 1;
const INT64: i64 = 2;
const DOUBLE: i64 = 5;
const BYTE_ARRAY: i64 = 6;
const UTF8: i64 = 0;
const UINT_32: i64 = 13;
const UINT_64: i64 = 14;
const REQUIRED: i64 = 0;
const PLAIN: i64 = 0;
/// The encoding of levels, of which required columns have none; a page names it all the same.
const RLE: i64 = 3;
const UNCOMPRESSED: i64 = 0;
const DATA_PAGE: i64 = 0;

impl Values {
    fn physical(&self) -> i64 {
        match self {
            Values::Text(_) => BYTE_ARRAY,
            Values::Count(_) => INT64,
            Values::Small(_) => INT32,
            Values::Real(_) => DOUBLE,
        }
    }

    fn meaning(&self) -> Option<i64> {
        match self {
            Values::Text(_) => Some(UTF8),
            Values::Count(_) => Some(UINT_64),
            Values::Small(_) => Some(UINT_32),
            Values::Real(_) => None,
        }
    }

    /// All values, one after the other, least significant byte first; text with its length before it.
    fn plain(&self) -> Vec<u8> {
        match self {
            Values::Text(values) => {
                let one = |text: &String| {
                    let length = (text.len() as u32).to_le_bytes();
                    [length.as_slice(), text.as_bytes()].concat()
                };
                values.iter().flat_map(one).collect()
            }
            Values::Count(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::Small(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::Real(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// Writes a table of so many rows.
pub(super) fn write(mut file: impl Write, rows: usize, columns: &[Column]) -> io::Result<()> {
    file.write_all(MAGIC)?;
    let mut offset = MAGIC.len();
    let mut chunks = Vec::new();
    let mut total = 0;
    for column in columns {
        let values = column.values.plain();
        let header = page_header(rows, values.len());
        let bytes = header.len() + values.len();
        file.write_all(&header)?;
        file.write_all(&values)?;
        chunks.push(chunk(column, rows, bytes, offset));
        offset += bytes;
        total += bytes;
    }
    let footer = footer(rows, columns, chunks, total);
    file.write_all(&footer)?;
    file.write_all(&(footer.len() as u32).to_le_bytes())?;
    file.write_all(MAGIC)?;
    file.flush()
}

fn page_header(rows: usize, bytes: usize) -> Vec<u8> {
    let mut page = Struct::default();
    page.int(1, rows as i64)
        .int(2, PLAIN)
        .int(3, RLE)
        .int(4, RLE);
    let mut header = Struct::default();
    header
        .int(1, DATA_PAGE)
        .int(2, bytes as i64)
        .int(3, bytes as i64);
    header.structure(5, page);
    header.end()
}

fn chunk(column: &Column, rows: usize, bytes: usize, offset: usize) -> Struct {
    let mut meta = Struct::default();
    meta.int(1, column.values.physical());
    meta.list(2, I32, vec![zigzag(PLAIN)]);
    meta.list(3, BINARY, vec![binary(column.name)]);
    meta.int(4, UNCOMPRESSED).long(5, rows as i64);
    meta.long(6, bytes as i64)
        .long(7, bytes as i64)
        .long(9, offset as i64);
    let mut chunk = Struct::default();
    chunk.long(2, offset as i64);
    chunk.structure(3, meta);
    chunk
}

fn footer(rows: usize, columns: &[Column], chunks: Vec<Struct>, total: usize) -> Vec<u8> {
    let mut root = Struct::default();
    root.text(4, "run").int(5, columns.len() as i64);
    let mut schema = vec![root.end()];
    for column in columns {
        let mut element = Struct::default();
        element
            .int(1, column.values.physical())
            .int(3, REQUIRED)
            .text(4, column.name);
        if let Some(meaning) = column.values.meaning() {
            element.int(6, meaning);
        }
        schema.push(element.end());
    }
    let mut group = Struct::default();
    group.list(1, STRUCT, chunks.into_iter().map(Struct::end).collect());
    group.long(2, total as i64).long(3, rows as i64);
    let mut meta = Struct::default();
    meta.int(1, 1);
    meta.list(2, STRUCT, schema);
    meta.long(3, rows as i64);
    meta.list(4, STRUCT, vec![group.end()]);
    meta.text(6, concat!("smartnodes-sim ", env!("CARGO_PKG_VERSION")));
    meta.end()
}

/// Types of the compact protocol.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A Thrift structure in the compact protocol. Fields are added in the order of their numbers.
#[derive(Default)]
struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

impl Struct {
    fn field(&mut self, number: u8, kind: u8) {
        // Field numbers here are close together: the short form, with the distance to the one before.
        self.bytes.push((number - self.last) << 4 | kind);
        self.last = number;
    }

    fn int(&mut self, number: u8, value: i64) -> &mut Struct {
        self.field(number, I32);
        self.bytes.extend(zigzag(value));
        self
    }

    fn long(&mut self, number: u8, value: i64) -> &mut Struct {
        self.field(number, I64);
        self.bytes.extend(zigzag(value));
        self
    }

    fn text(&mut self, number: u8, value: &str) -> &mut Struct {
        self.field(number, BINARY);
        self.bytes.extend(binary(value));
        self
    }

    fn structure(&mut self, number: u8, value: Struct) {
        self.field(number, STRUCT);
        self.bytes.extend(value.end());
    }

    fn list(&mut self, number: u8, kind: u8, items: Vec<Vec<u8>>) {
        self.field(number, LIST);
        match u8::try_from(items.len()) {
            Ok(count @ 0..15) => self.bytes.push(count << 4 | kind),
            _ => {
                self.bytes.push(0xf0 | kind);
                self.bytes.extend(varint(items.len() as u64));
            }
        }
        self.bytes.extend(items.into_iter().flatten());
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

fn binary(text: &str) -> Vec<u8> {
    let mut bytes = varint(text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Small numbers of either sign in few bytes.
fn zigzag(value: i64) -> Vec<u8> {
    varint((value << 1 ^ value >> 63).cast_unsigned())
}

/// Seven bits a byte, the least significant first; the top bit says that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_coded_as_the_protocol_says() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(300), [0xac, 0x02]);
        assert_eq!(zigzag(-1), [1]);
        assert_eq!(zigzag(1), [2]);
        assert_eq!(zigzag(-65), [0x81, 0x01]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }

    #[test]
    fn a_file_is_its_pages_between_two_marks_and_says_where_its_footer_begins() {
        let columns = [
            Column {
                name: "name",
                values: Values::Text(vec!["a".to_owned(), "bc".to_owned()]),
            },
            Column {
                name: "seed",
                values: Values::Count(vec![7, u64::MAX]),
            },
        ];
        let mut file = Vec::new();
        write(&mut file, 2, &columns).expect("memory takes all");
        assert!(file.starts_with(MAGIC) && file.ends_with(MAGIC));
        let length = &file[file.len() - 8..file.len() - 4];
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let footer = &file[file.len() - 8 - length..file.len() - 8];
        let has = |text: &str| {
            footer
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        assert!(has("name") && has("seed"));
        // The first page: a header, then length and text of each value.
        let header = page_header(2, 11);
        assert_eq!(&file[4..4 + header.len()], header);
        assert_eq!(&file[4 + header.len()..][..11], b"\x01\0\0\0a\x02\0\0\0bc");
    }
}
