//! The document as one HTML page: no network, no scripts, light and dark, phone, desktop and paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Block, Document, DocumentError, Picture, Span};
use crate::table::{Kind, Table};

/// Pictures are drawn dark on light; in the dark they are turned round, which keeps their hues.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1f2937; --soft: #5b6472; --line: #d9dee5; --back: #ffffff; --stripe: #f6f8fa; --link: #1d4ed8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e9f0; --soft: #a3adbb; --line: #39424f; --back: #14181d; --stripe: #1b2027; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink); background: var(--back); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 1rem 0 0.5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.5rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }
p, ul { max-width: 46rem; }
a { color: var(--link); }
code { font-size: 0.9em; overflow-wrap: anywhere; }
.value { font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.25rem 0; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody tr:nth-child(even) { background: var(--stripe); }
.number { text-align: right; }
td.number { white-space: nowrap; }
.files, figcaption, footer { color: var(--soft); font-size: 0.875rem; }
figure { margin: 1.5rem 0; }
figure svg { display: block; width: 100%; height: auto; border: 1px solid var(--line); }
figcaption { max-width: 46rem; margin-top: 0.5rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); }
@media screen and (prefers-color-scheme: dark) { figure svg { filter: invert(0.91) hue-rotate(180deg); } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } figure svg { width: auto; max-width: 13cm; max-height: 22cm; } .scroll { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: 2pt 4pt; } h2, caption { break-after: avoid; } figure, tr { break-inside: avoid; } a { color: inherit; text-decoration: none; } }
";

pub(super) fn page(document: &Document) -> Result<String, DocumentError> {
    let mut blocks = Vec::with_capacity(document.blocks.len());
    for part in &document.blocks {
        blocks.push(block(document, part)?);
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (document.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (document.title) }
                    @for block in &blocks { (block) }
                }
                footer {
                    p { "Made by " code { (document.command) } ". Every number in the text is a cell of a table; the pointer shows which." }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn block(document: &Document, block: &Block) -> Result<Markup, DocumentError> {
    Ok(match block {
        Block::Heading(text) => html! { h2 { (prose(document, text)?) } },
        Block::Prose(text) => html! { p { (prose(document, text)?) } },
        Block::List(points) => {
            let points = points.iter().map(|point| prose(document, point));
            let points = points.collect::<Result<Vec<_>, _>>()?;
            html! { ul { @for point in &points { li { (point) } } } }
        }
        Block::Table(name) => table(document.table_named(name)?),
        Block::Files(name) => {
            let table = document.table_named(name)?;
            html! { p.files { (table.title) ": " (files(table)) "." } }
        }
        Block::Picture(name) => figure(document, document.picture_named(name)?)?,
        Block::Links(links) => html! {
            ul { @for (text, address) in links { li { a href=(address) { (text) } } } }
        },
    })
}

fn prose(document: &Document, text: &str) -> Result<Markup, DocumentError> {
    let spans = document.spans(text)?;
    Ok(html! {
        @for span in &spans {
            @match span {
                Span::Plain(text) => { (text) }
                Span::Code(code) => { code { (code) } }
                Span::Value { shown, source } => { span.value title=(source) { (shown) } }
            }
        }
    })
}

fn table(table: &Table) -> Markup {
    let class = |kind: Kind| (kind != Kind::Text).then_some("number");
    html! {
        div.scroll {
            table id=(format!("table-{}", table.name)) {
                caption { (table.title) }
                thead { tr {
                    @for column in &table.columns {
                        th scope="col" class=[class(column.kind)] { (column.heading) }
                    }
                } }
                tbody {
                    @for row in 0..table.rows().len() {
                        tr {
                            @for (place, column) in table.columns.iter().enumerate() {
                                td class=[class(column.kind)] { (table.show(row, place)) }
                            }
                        }
                    }
                }
            }
            p.files { (files(table)) }
        }
    }
}

fn files(table: &Table) -> Markup {
    let (csv, parquet) = (
        format!("{}.csv", table.name),
        format!("{}.parquet", table.name),
    );
    html! { a href=(csv) { (csv) } ", " a href=(parquet) { (parquet) } }
}

fn figure(document: &Document, picture: &Picture) -> Result<Markup, DocumentError> {
    let label = html! { (picture.title) }.into_string();
    let start = format!("<svg role=\"img\" aria-label=\"{label}\" ");
    let svg = picture.svg.trim_end().replacen("<svg ", &start, 1);
    let caption = prose(document, &picture.caption)?;
    Ok(html! {
        figure id=(picture.name) {
            (PreEscaped(svg))
            figcaption { (caption) }
        }
    })
}
