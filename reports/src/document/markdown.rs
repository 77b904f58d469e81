//! The document as Markdown; pictures and tables are files beside it.

use std::fmt::Write;

use super::{Block, Document, DocumentError, Span};
use crate::table::{Kind, Table};

pub(super) fn page(document: &Document) -> Result<String, DocumentError> {
    let mut parts = vec![format!("# {}", document.title)];
    for block in &document.blocks {
        parts.push(part(document, block)?);
    }
    parts.push(format!("Made by `{}`.", document.command));
    Ok(parts.join("\n\n") + "\n")
}

fn part(document: &Document, block: &Block) -> Result<String, DocumentError> {
    Ok(match block {
        Block::Heading(text) => format!("## {}", prose(document, text)?),
        Block::Prose(text) => prose(document, text)?,
        Block::List(points) => {
            let points = points
                .iter()
                .map(|point| Ok(format!("- {}", prose(document, point)?)));
            points
                .collect::<Result<Vec<_>, DocumentError>>()?
                .join("\n")
        }
        Block::Table(name) => table(document.table_named(name)?),
        Block::Files(name) => {
            let table = document.table_named(name)?;
            format!("{}: {}.", table.title, files(table))
        }
        Block::Picture(name) => {
            let picture = document.picture_named(name)?;
            let caption = prose(document, &picture.caption)?;
            format!("![{}]({}.svg)\n\n*{caption}*", picture.title, picture.name)
        }
        Block::Links(links) => {
            let links = links
                .iter()
                .map(|(text, address)| format!("- [{}]({address})", escape(text)));
            links.collect::<Vec<_>>().join("\n")
        }
    })
}

fn prose(document: &Document, text: &str) -> Result<String, DocumentError> {
    let spans = document.spans(text)?;
    let text = spans.into_iter().map(|span| match span {
        Span::Plain(text) => text,
        Span::Code(code) => format!("`{code}`"),
        Span::Value { shown, .. } => escape(&shown),
    });
    Ok(text.collect())
}

fn table(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let headings = table.columns.iter().map(|column| escape(&column.heading));
    let alignment = table.columns.iter().map(|column| {
        let alignment = if column.kind == Kind::Text {
            "---"
        } else {
            "---:"
        };
        alignment.to_owned()
    });
    let mut text = format!("**{}** ({})\n\n", table.title, files(table));
    text += &row(headings.collect());
    text.push('\n');
    text += &row(alignment.collect());
    for place in 0..table.rows().len() {
        let cells = (0..table.columns.len()).map(|column| escape(&table.show(place, column)));
        let _ = write!(text, "\n{}", row(cells.collect()));
    }
    text
}

fn files(table: &Table) -> String {
    let name = table.name;
    format!("[{name}.csv]({name}.csv), [{name}.parquet]({name}.parquet)")
}

/// Keeps what is shown from being read as Markdown or HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|")
        .replace('\n', " ")
}
