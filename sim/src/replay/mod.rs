//! Replays: the story of a run, told line by line and drawn as a page.

mod page;
mod story;

pub use page::Timeline;
pub use story::Teller;
