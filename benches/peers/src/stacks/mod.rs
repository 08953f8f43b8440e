//! The same app on each stack, over each backend. All stacks share `app` and `routes`. `build`
//! builds the apps. Each other file adapts one stack.

mod app;
mod axum_session;
mod build;
mod floor;
mod ours;
mod routes;
mod tower_sessions;
mod upstream;

pub(crate) use self::{
    app::{App, Backend, Servers},
    build::{all, floor, ours, with_floor},
};
