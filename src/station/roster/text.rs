//! From the bytes of a file to cells: what spreadsheets write, and nothing else.

use csv::{ReaderBuilder, StringRecord};

/// The longest roster, bytes: some 50 000 rows.
pub const LONGEST: usize = 4 * 1024 * 1024;

/// Why bytes are no text that could be a roster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoText {
    /// Too long.
    #[error("it is longer than {} MiB", LONGEST / 1024 / 1024)]
    TooLong,
    /// A spreadsheet's own file.
    #[error("it is a spreadsheet's own file, no CSV")]
    Spreadsheet,
    /// Bytes that are no UTF-8.
    #[error("line {line} holds a byte that is no UTF-8")]
    Encoding {
        /// The line, from 1.
        line: usize,
    },
}

impl NoText {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::TooLong => "split it into several rosters",
            Self::Spreadsheet | Self::Encoding { .. } => "save it as \"CSV UTF-8\" in the spreadsheet",
        }
    }
}

/// A file in cells.
#[derive(Debug)]
pub(super) struct Sheet {
    /// Each line with its number. Cells have no blanks around them; lines without any content are left out.
    pub(super) lines: Vec<(u64, Vec<String>)>,
}

/// Reads a file: UTF-8 with or without a byte order mark, or UTF-16 with one; parted by commas, semicolons or tabs,
/// whichever the first line has most of; Excel's own `sep=;` may stand before it.
pub(super) fn sheet(bytes: &[u8]) -> Result<Sheet, NoText> {
    if bytes.len() > LONGEST {
        return Err(NoText::TooLong);
    }
    // ZIP for xlsx and ods, OLE for xls.
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\xd0\xcf\x11\xe0") {
        return Err(NoText::Spreadsheet);
    }
    let text = decode(bytes)?;
    let first = text.lines().next().unwrap_or_default();
    let named = first.trim().strip_prefix("sep=").filter(|rest| rest.len() == 1 && rest.is_ascii());
    let (text, before, named) = match named {
        Some(separator) => (text.split_once('\n').map_or("", |(_, rest)| rest), 1, Some(separator.as_bytes()[0])),
        None => (text.as_str(), 0, None),
    };
    let separator = named.unwrap_or_else(|| separator(text.lines().find(|line| !line.trim().is_empty())));
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes());
    let mut lines = Vec::new();
    let mut record = StringRecord::new();
    let (mut counted, mut line) = (0, 1 + before);
    // The text is UTF-8 and any number of cells is taken, so that nothing is left to fail.
    while let Ok(true) = reader.read_record(&mut record) {
        // The reader's own count stands still at what ends the line before, and at lines without anything.
        let begins = record.position().map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX));
        let ends = text.as_bytes().iter().skip(begins).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let first = (begins + ends).min(text.len());
        line += text.as_bytes()[counted..first].iter().filter(|byte| **byte == b'\n').count() as u64;
        counted = first;
        let cells: Vec<String> = record.iter().map(|cell| cell.trim_matches(is_blank).to_owned()).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            lines.push((line, cells));
        }
    }
    Ok(Sheet { lines })
}

/// A blank around a cell. A line's end in one is no blank: a quote is not closed.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && !matches!(c, '\r' | '\n')
}

/// What the first line is parted by.
fn separator(first: Option<&str>) -> u8 {
    let first = first.unwrap_or_default();
    let count = |separator: u8| first.bytes().filter(|byte| *byte == separator).count();
    // The last of equals is taken: the comma where there is none of them.
    *b"\t;,".iter().max_by_key(|separator| count(**separator)).expect("there are three")
}

fn decode(bytes: &[u8]) -> Result<String, NoText> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks(2).map(|pair| unit([pair[0], pair.get(1).copied().unwrap_or(0)]));
        let mut text = String::new();
        for character in char::decode_utf16(units) {
            let line = || text.matches('\n').count() + 1;
            let character = character.map_err(|_| NoText::Encoding { line: line() })?;
            text.push(character);
        }
        Ok(text)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => {
                    let before = &bytes[..error.valid_up_to()];
                    Err(NoText::Encoding { line: before.iter().filter(|byte| **byte == b'\n').count() + 1 })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(bytes: &[u8]) -> Vec<(u64, Vec<String>)> {
        sheet(bytes).unwrap().lines
    }

    #[test]
    fn what_spreadsheets_export_is_read_alike() {
        let wanted =
            |first| vec![(first, vec!["mac".to_owned(), "user".into()]), (first + 2, vec!["ü".into(), "b,c".into()])];
        assert_eq!(cells("mac,user\n\nü,\"b,c\"\n".as_bytes()), wanted(1));
        assert_eq!(cells("\u{feff}mac;user\r\n;\r\nü; b,c \r\n".as_bytes()), wanted(1));
        assert_eq!(cells("sep=;\r\nmac;user\r\n\r\nü;b,c".as_bytes()), wanted(2));
        assert_eq!(cells("mac\tuser\n\t\nü\tb,c".as_bytes()), wanted(1));
        let wide = "\u{feff}mac\tuser\r\n\r\nü\tb,c\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        assert_eq!(cells(&wide), wanted(1));
    }

    #[test]
    fn what_is_no_text_is_called_so_with_its_line() {
        assert_eq!(sheet(b"mac,user\na,M\xfcller").unwrap_err(), NoText::Encoding { line: 2 });
        assert_eq!(sheet(b"PK\x03\x04xlsx").unwrap_err(), NoText::Spreadsheet);
        assert_eq!(sheet(&vec![b' '; LONGEST + 1]).unwrap_err(), NoText::TooLong);
        assert!(cells(b"").is_empty());
    }
}
