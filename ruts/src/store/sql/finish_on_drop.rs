//! [`FinishOnDrop`]: a future that is always polled to its end.
//!
//! Used by the executors, for statements that their callers poll. Knows nothing about statements.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// Polls a future in the task of its caller, which saves the wake-up of a second task. If the
/// caller drops it before the end, a task of its own finishes it.
///
/// The type of the future is erased. Otherwise it would be a part of the types of all callers,
/// whose depth the compiler limits.
pub(in crate::store) struct FinishOnDrop<T: Send + 'static>(
    Option<Pin<Box<dyn Future<Output = T> + Send>>>,
);

impl<T: Send + 'static> FinishOnDrop<T> {
    pub(in crate::store) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<T: Send + 'static> Future for FinishOnDrop<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for FinishOnDrop<T> {
    fn drop(&mut self) {
        // A future that has panicked must not be polled again.
        if let Some(future) = self.0.take()
            && !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(future));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::{sync::Semaphore, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn a_dropped_future_is_finished() {
        let (gate, finished) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
        let start = || {
            let (gate, finished) = (Arc::clone(&gate), Arc::clone(&finished));
            FinishOnDrop::new(async move {
                gate.acquire().await.unwrap().forget();
                finished.fetch_add(1, Ordering::Relaxed);
            })
        };
        let mut begun = start();
        tokio::select! {
            biased;
            () = &mut begun => panic!("the future should wait"),
            () = yield_now() => {}
        }
        drop(begun);
        drop(start());
        gate.add_permits(3);
        start().await;
        while finished.load(Ordering::Relaxed) < 3 {
            yield_now().await;
        }
        yield_now().await;
        assert_eq!(finished.load(Ordering::Relaxed), 3);
    }
}
