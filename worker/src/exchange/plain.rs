//! A call's side of a client that hears pieces of its result, and nothing else before it.

use std::sync::Arc;

use actix_web::web::Bytes;
use serde_json::Value;
use task_mcp_mcp::{
    Answers, CallContext, Change, ClientCapabilities, ContextFuture, LogLevel, NoChunks, Questions, Unanswered,
};
use task_mcp_state::Bus;

use super::context::publish;
use super::outlet::{Emission, Outlet};

/// A client of a dialect that has pieces, but neither progress nor messages nor questions.
pub(crate) struct Plain {
    outlet: Outlet,
    bus: Bus,
}

impl Plain {
    /// One that is told over `outlet`.
    pub(crate) fn context(outlet: Outlet, bus: &Bus) -> Arc<dyn CallContext> {
        Arc::new(Self { outlet, bus: bus.clone() })
    }
}

impl CallContext for Plain {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities::NONE
    }

    fn progress(&self, _: f64, _: Option<f64>, _: Option<&str>) {}

    fn log(&self, _: LogLevel, _: Option<&str>, _: &Value) {}

    fn ask<'a>(&'a self, _: &'a str, questions: &'a Questions) -> ContextFuture<'a, Result<Answers, Unanswered>> {
        let missing = questions.beyond(ClientCapabilities::NONE);
        Box::pin(
            async move { missing.map_or_else(|| Ok(Answers::new()), |missing| Err(Unanswered::Unsupported(missing))) },
        )
    }

    fn chunk<'a>(&'a self, text: &'a str) -> ContextFuture<'a, Result<(), NoChunks>> {
        Box::pin(async move {
            let piece = Emission::Chunk(Bytes::copy_from_slice(text.as_bytes()));
            self.outlet.send(piece).await.map_err(|_| NoChunks::Gone)
        })
    }

    fn notify(&self, change: &Change) {
        publish(&self.bus, change);
    }

    fn cancelled(&self) -> ContextFuture<'_, ()> {
        Box::pin(self.outlet.left())
    }
}
