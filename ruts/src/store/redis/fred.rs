use std::time::Duration;

use ::fred::{
    clients::{Client, Pool},
    error::{Error, ErrorKind},
    interfaces::{ClientLike, LuaInterface},
    types::{Value, config::Options},
};
use bytes::Bytes;

use super::client::{Call, Failure, Reply, Text};

impl Call for Client {
    async fn call(
        &self,
        script: Text,
        key: Bytes,
        arguments: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        if !self.is_connected() {
            return Err(Failure::Unsent(Box::new(Error::new(
                ErrorKind::IO,
                "the client is not connected",
            ))));
        }
        // fred would wait for a reconnection and send again; by itself it waits for ever.
        let client = self.with_options(&Options {
            max_attempts: Some(1),
            timeout: Some(timeout),
            fail_fast: true,
            ..Options::default()
        });
        let arguments: Vec<Value> = arguments.into_iter().map(Value::Bytes).collect();
        let answer: Result<Value, Error> = match script {
            Text::Hash(hash) => client.evalsha(hash, key, arguments).await,
            Text::Whole(text) => client.eval(text, key, arguments).await,
        };
        match answer {
            Ok(value) => reply(value),
            Err(error) => Err(failure(error)),
        }
    }
}

impl Call for Pool {
    async fn call(
        &self,
        script: Text,
        key: Bytes,
        arguments: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        self.next_connected().call(script, key, arguments, timeout).await
    }
}

fn reply(value: Value) -> Result<Reply, Failure> {
    Ok(match value {
        Value::Null => Reply::Nil,
        Value::Integer(number) => Reply::Int(number),
        Value::Bytes(bytes) => Reply::Bytes(bytes),
        Value::String(text) => Reply::Bytes(text.into_inner()),
        Value::Array(items) => {
            Reply::Array(items.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        _ => {
            let error = Error::new(ErrorKind::Protocol, "an answer that no script gives");
            return Err(Failure::Lost(Box::new(error)));
        }
    })
}

/// fred tells an error of the server from one of its own by the text alone: the server's begin with
/// a code in capitals.
fn failure(error: Error) -> Failure {
    let code: String =
        error.details().chars().take_while(|char| char.is_ascii_uppercase()).collect();
    let is_code = code.len() > 1 && !matches!(error.kind(), ErrorKind::IO | ErrorKind::Timeout);
    match error.kind() {
        _ if is_code => Failure::Refused(code, Box::new(error)),
        ErrorKind::Backpressure => Failure::Unsent(Box::new(error)),
        _ => Failure::Lost(Box::new(error)),
    }
}
