//! Requests at a steady rate while something happens to the server.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use task_mcp_bench::{Control, Outcome, Pace, Plan, Report, Request, Reuse, run};

use super::{server::Server, wait::eventually};

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(900);

/// A request at a steady rate whatever the server does, half of it on fresh and half on kept connections. Whoever waits 15 s
/// for an answer has lost it.
pub fn steady(server: &Server, request: &Request, per_s: f64, connections: usize) -> Vec<Plan> {
    let plan = |reuse| {
        let mut plan = Plan::new(server.address(), request.clone());
        (plan.pace, plan.reuse, plan.connections) = (Pace::Open { per_s: per_s / 2.0 }, reuse, connections / 2);
        (plan.max_requests, plan.max_duration, plan.timeout) = (u64::MAX, FOR_EVER, Duration::from_secs(15));
        plan
    };
    vec![plan(Reuse::OnePerRequest), plan(Reuse::KeepAlive)]
}

/// Runs under way. They end with the value, if not before.
pub struct Load(Vec<(Control, JoinHandle<Report>)>);

impl Load {
    /// Starts them and waits until each has had answers.
    pub fn start(plans: Vec<Plan>) -> Self {
        let start = |mut plan: Plan| {
            plan.control = Control::default();
            (plan.control.clone(), thread::spawn(move || run(&plan).expect("a plan within its limits")))
        };
        let load = Self(plans.into_iter().map(start).collect());
        load.wait_more(20);
        load
    }

    /// Waits until each has so many more outcomes.
    pub fn wait_more(&self, count: u64) {
        let before: Vec<u64> = self.0.iter().map(|(control, _)| control.finished()).collect();
        eventually(Duration::from_secs(30), "the load goes on", || {
            self.0.iter().zip(&before).all(|((control, _), before)| control.finished() >= before + count).then_some(())
        });
    }

    /// Lets them end and tells what became of their requests.
    pub fn stop(mut self) -> Vec<Report> {
        self.0.iter().for_each(|(control, _)| control.stop());
        self.0.drain(..).map(|(_, run)| run.join().expect("no run panics")).collect()
    }

    /// The same for a time in which nothing may fail.
    pub fn stop_unharmed(self) -> Vec<Report> {
        let reports = self.stop();
        for report in &reports {
            assert_eq!(report.failed(), 0, "{report}\n{:?}", report.mishaps().first());
            assert!(report.count(Outcome::Ok) > 0, "{report}");
        }
        reports
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.iter().for_each(|(control, _)| control.stop());
    }
}
