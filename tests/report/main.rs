//! Output of results: files, pages and tables, of one result and of several.

mod colours;
mod environment;
mod files;
mod fixture;
mod ladder;
mod loads;
mod markdown;
mod page;
mod program;
mod schema;
mod side_by_side;
