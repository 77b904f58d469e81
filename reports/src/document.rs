//! A report as a whole: prose, tables and pictures, from which HTML and Markdown are made.
//!
//! Prose has no numbers of its own. It names cells, `{table|row|column}`, where `row` is what the table's first column
//! shows; a digit outside of braces and code is refused. So every number in the text is one of a table in the output.

mod html;
mod markdown;

use thiserror::Error;

use crate::{
    output::{OutputError, Staging},
    picture::{PictureError, png},
    table::{Table, TableError},
};

/// Why a document cannot be made or written.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// Prose names a cell that is not there.
    #[error("prose names {{{0}}}, but the output has no such cell")]
    NoCell(String),
    /// Prose has a brace or backtick without its partner.
    #[error("prose has an open brace or backtick: {0:?}")]
    Unclosed(String),
    /// Prose has a number that no table vouches for.
    #[error("prose has a number of its own: {0:?}: name a cell of a table instead")]
    LooseNumber(String),
    /// A block shows a table or picture that the document does not have.
    #[error("the document shows {0}, which it does not have")]
    Missing(&'static str),
    /// The file is not one that this report may have.
    #[error("{0} is not in the list of this report's files")]
    Unlisted(String),
    /// A table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A picture cannot be made.
    #[error("picture {name}: {source}")]
    Picture {
        /// The picture.
        name: &'static str,
        /// Why.
        source: PictureError,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// A picture with what belongs to it.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its name in files.
    pub name: &'static str,
    /// What it shows, in a few words; also its text for those who cannot see it.
    pub title: String,
    /// What to see in it: prose.
    pub caption: String,
    /// The picture.
    pub svg: String,
}

/// A part of a document.
#[derive(Clone, Debug)]
pub enum Block {
    /// A heading of a section.
    Heading(String),
    /// A paragraph of prose.
    Prose(String),
    /// Points of prose.
    List(Vec<String>),
    /// A table, shown whole.
    Table(&'static str),
    /// A table that is too long to show: its title and files.
    Files(&'static str),
    /// A picture.
    Picture(&'static str),
    /// Pages to go to: text and relative address.
    Links(Vec<(String, String)>),
}

/// A report.
#[derive(Clone, Debug)]
pub struct Document {
    /// Name of its HTML and Markdown files.
    pub name: &'static str,
    /// Its title.
    pub title: String,
    /// The command that makes it again.
    pub command: String,
    /// Its parts, in order.
    pub blocks: Vec<Block>,
    /// All its tables.
    pub tables: Vec<Table>,
    /// All its pictures.
    pub pictures: Vec<Picture>,
}

/// What a paragraph consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Span {
    Plain(String),
    Code(String),
    /// A number or word of a table: what is shown, and where it stands.
    Value {
        shown: String,
        source: String,
    },
}

/// Which files a report may consist of: those of a document with these tables and pictures.
#[must_use]
pub fn files(name: &str, tables: &[&str], pictures: &[&str]) -> Vec<String> {
    let document = [format!("{name}.html"), format!("{name}.md")];
    let tables = tables
        .iter()
        .flat_map(|table| [format!("{table}.csv"), format!("{table}.parquet")]);
    let pictures = pictures
        .iter()
        .flat_map(|picture| [format!("{picture}.svg"), format!("{picture}.png")]);
    document.into_iter().chain(tables).chain(pictures).collect()
}

impl Document {
    /// A document without content.
    #[must_use]
    pub fn new(name: &'static str, title: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            name,
            title: title.into(),
            command: command.into(),
            blocks: Vec::new(),
            tables: Vec::new(),
            pictures: Vec::new(),
        }
    }

    /// Adds a heading.
    pub fn heading(&mut self, text: &str) {
        self.blocks.push(Block::Heading(text.to_owned()));
    }

    /// Adds a paragraph.
    pub fn prose(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Prose(text.into()));
    }

    /// Adds points.
    pub fn list(&mut self, points: Vec<String>) {
        self.blocks.push(Block::List(points));
    }

    /// Adds a table and shows it.
    pub fn table(&mut self, table: Table) {
        self.blocks.push(Block::Table(table.name));
        self.tables.push(table);
    }

    /// Adds a table whose files alone are named.
    pub fn table_in_files(&mut self, table: Table) {
        self.blocks.push(Block::Files(table.name));
        self.tables.push(table);
    }

    /// Adds a picture and shows it.
    pub fn picture(&mut self, picture: Picture) {
        self.blocks.push(Block::Picture(picture.name));
        self.pictures.push(picture);
    }

    /// The document as one HTML page that needs nothing else.
    pub fn html(&self) -> Result<String, DocumentError> {
        html::page(self)
    }

    /// The document as Markdown, with its pictures beside it.
    pub fn markdown(&self) -> Result<String, DocumentError> {
        markdown::page(self)
    }

    /// Writes everything; `files` are those that the report may have. `progress` hears of each.
    pub fn write(
        &self,
        staging: &Staging,
        files: &[String],
        mut progress: impl FnMut(&str),
    ) -> Result<(), DocumentError> {
        let mut write = |name: String, contents: &[u8]| {
            if !files.contains(&name) {
                return Err(DocumentError::Unlisted(name));
            }
            progress(&name);
            Ok(staging.write(&name, contents)?)
        };
        write(format!("{}.html", self.name), self.html()?.as_bytes())?;
        write(format!("{}.md", self.name), self.markdown()?.as_bytes())?;
        for table in &self.tables {
            write(format!("{}.csv", table.name), &table.csv()?)?;
            write(format!("{}.parquet", table.name), &table.parquet()?)?;
        }
        for picture in &self.pictures {
            write(format!("{}.svg", picture.name), picture.svg.as_bytes())?;
            let pixels = png(&picture.svg).map_err(|source| DocumentError::Picture {
                name: picture.name,
                source,
            })?;
            write(format!("{}.png", picture.name), &pixels)?;
        }
        Ok(())
    }

    fn table_named(&self, name: &'static str) -> Result<&Table, DocumentError> {
        let table = self.tables.iter().find(|table| table.name == name);
        table.ok_or(DocumentError::Missing(name))
    }

    fn picture_named(&self, name: &'static str) -> Result<&Picture, DocumentError> {
        let picture = self.pictures.iter().find(|picture| picture.name == name);
        picture.ok_or(DocumentError::Missing(name))
    }

    /// Resolves prose: cells are looked up, loose numbers refused.
    fn spans(&self, text: &str) -> Result<Vec<Span>, DocumentError> {
        let unclosed = || DocumentError::Unclosed(text.to_owned());
        let mut spans = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '`']) {
            let (plain, marked) = rest.split_at(at);
            spans.push(self.plain(plain)?);
            let (inside, after) = if let Some(code) = marked.strip_prefix('`') {
                let (code, after) = code.split_once('`').ok_or_else(unclosed)?;
                (Span::Code(code.to_owned()), after)
            } else {
                let (place, after) = marked[1..].split_once('}').ok_or_else(unclosed)?;
                (self.cell(place)?, after)
            };
            spans.push(inside);
            rest = after;
        }
        spans.push(self.plain(rest)?);
        spans.retain(|span| *span != Span::Plain(String::new()));
        Ok(spans)
    }

    fn plain(&self, text: &str) -> Result<Span, DocumentError> {
        if text.contains(|letter: char| letter.is_ascii_digit()) {
            return Err(DocumentError::LooseNumber(text.to_owned()));
        }
        Ok(Span::Plain(text.to_owned()))
    }

    fn cell(&self, place: &str) -> Result<Span, DocumentError> {
        let mut parts = place.splitn(3, '|');
        let found = match (parts.next(), parts.next(), parts.next()) {
            (Some(table), Some(row), Some(column)) => self
                .tables
                .iter()
                .find(|of| of.name == table)
                .and_then(|of| of.find(row, column)),
            _ => None,
        };
        let shown = found.ok_or_else(|| DocumentError::NoCell(place.to_owned()))?;
        Ok(Span::Value {
            shown,
            source: place.replace('|', ", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Kind, column};

    fn document() -> Document {
        let mut document = Document::new("fruit", "Fruit & more", "make fruit");
        let mut table = Table::new(
            "prices",
            "Prices",
            vec![
                column("fruit", "fruit", Kind::Text),
                column("price_sno", "price (SNO)", Kind::Sno { decimals: 1 }),
            ],
        );
        table.push(["pear <b>".into(), 1_500_000_000_000_000_000_i128.into()]);
        document.heading("Prices");
        document.table(table);
        document.picture(Picture {
            name: "fruit-picture",
            title: "A pear".to_owned(),
            caption: "It costs {prices|pear <b>|price_sno} SNO.".to_owned(),
            svg: "<svg width=\"2\" height=\"1\" viewBox=\"0 0 2 1\" xmlns=\"http://www.w3.org/2000/svg\"></svg>\n".to_owned(),
        });
        document
    }

    #[test]
    fn numbers_in_prose_come_from_tables() {
        let mut document = document();
        document.prose("A pear is {prices|pear <b>|price_sno} SNO by `--years 20`.");
        let page = document.html().expect("a page");
        assert!(
            page.contains("title=\"prices, pear &lt;b&gt;, price_sno\">1.5</span> SNO"),
            "{page}"
        );
        assert!(page.contains("<code>--years 20</code>"));
        let text = document.markdown().expect("a page");
        assert!(
            text.contains("A pear is 1.5 SNO by `--years 20`."),
            "{text}"
        );
    }

    #[test]
    fn loose_numbers_missing_cells_and_open_braces_are_refused() {
        let cases = [
            ("It grew by 5.", "a number of its own"),
            ("It grew by {prices|plum|price_sno}.", "no such cell"),
            ("It grew by {prices|pear <b>}.", "no such cell"),
            ("It grew by {prices", "an open brace"),
            ("It grew by `prices", "an open brace"),
        ];
        for (text, expected) in cases {
            let mut document = document();
            document.prose(text);
            for error in [
                document.html().expect_err(text),
                document.markdown().expect_err(text),
            ] {
                assert!(error.to_string().contains(expected), "{text}: {error}");
            }
        }
    }

    #[test]
    fn a_page_needs_nothing_else_and_escapes_what_it_shows() {
        let page = document().html().expect("a page");
        assert!(page.starts_with("<!DOCTYPE html>"));
        assert!(page.contains("Fruit &amp; more") && page.contains("pear &lt;b&gt;"));
        assert!(page.contains("<svg role=\"img\" aria-label=\"A pear\" "));
        for outside in ["<script", "<link", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        let text = document().markdown().expect("a page");
        assert!(text.contains("![A pear](fruit-picture.svg)"), "{text}");
        assert!(text.contains("| pear &lt;b> | 1.5 |"), "{text}");
    }
}
