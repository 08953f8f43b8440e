//! Builds apps by backend.
//!
//! Called by every measurement. The only file that knows all stacks.

use super::{
    app::{App, Backend, Servers},
    axum_session, floor as floor_stack, ours as ours_stack, tower_sessions, upstream,
};

/// Builds a router without sessions that sends the same commands through the bare driver. Over
/// memory, it sends none.
pub(crate) async fn floor(backend: Backend, servers: &Servers) -> App {
    floor_stack::app(backend, servers).await
}

/// Builds the app on ruts.
pub(crate) async fn ours(backend: Backend, servers: &Servers) -> App {
    ours_stack::app(backend, servers).await
}

/// Builds the app on each stack that has the backend, ruts first. Each has its own connections.
pub(crate) async fn all(backend: Backend, servers: &Servers) -> Vec<App> {
    let mut apps = vec![ours(backend, servers).await];
    apps.extend(upstream::app(backend, servers).await);
    apps.extend(tower_sessions::app(backend, servers).await);
    apps.extend(axum_session::app(backend, servers).await);
    apps
}

/// Builds the floor, then the app on each stack.
pub(crate) async fn with_floor(backend: Backend, servers: &Servers) -> Vec<App> {
    let mut apps = vec![floor(backend, servers).await];
    apps.extend(all(backend, servers).await);
    apps
}
