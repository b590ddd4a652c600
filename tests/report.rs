//! Results as they are told: in a file, in a page, and beside each other.

#[path = "report/colours.rs"]
mod colours;
#[path = "report/files.rs"]
mod files;
#[path = "report/fixture.rs"]
mod fixture;
#[path = "report/ladder.rs"]
mod ladder;
#[path = "report/loads.rs"]
mod loads;
#[path = "report/page.rs"]
mod page;
#[path = "report/program.rs"]
mod program;
#[path = "report/schema.rs"]
mod schema;
#[path = "report/several.rs"]
mod several;
#[path = "report/surroundings.rs"]
mod surroundings;
