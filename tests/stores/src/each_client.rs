//! [`through_each_client!`](crate::through_each_client): tests that run through several clients.

/// Runs tests through several clients, each in a module of its own.
///
/// `client` names a function of the calling file that connects to a URL. Each test gets that
/// function as its argument.
#[macro_export]
macro_rules! through_each_client {
    ({ $($module:ident: $client:ident),+ $(,)? } $tests:tt) => {
        $(mod $module { $crate::through_each_client!(@ $client $tests); })+
    };
    (@ $client:ident { $($test:ident),+ $(,)? }) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            super::$test(async |url: String| super::$client(&url).await).await;
        })+
    };
}
