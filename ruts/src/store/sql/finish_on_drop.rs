//! [`FinishOnDrop`]: a future that is always polled to its end.
//!
//! Used by the executors, for statements that their callers poll. Knows nothing of statements.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// Polls a future in the task of its caller, which saves the wake-up of a second task. If the caller drops
/// it before the end, a task of its own finishes it.
pub(in crate::store) struct FinishOnDrop<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F: Future<Output: Send> + Send + 'static> FinishOnDrop<F> {
    pub(in crate::store) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for FinishOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for FinishOnDrop<F> {
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
