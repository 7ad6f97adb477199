//! The scoreboard as Prometheus text.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};
use task_mcp_scoreboard::{Kind, Role, Sample, Scoreboard, SeatState};

use crate::names;

/// The text cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be written as text")]
pub struct ExpositionError(#[from] prometheus::Error);

/// All metrics of the instance in the text format of Prometheus (version 0.0.4). `uptime_s` is the age of the instance.
///
/// # Errors
/// The encoder refuses a family; a bug.
pub fn exposition(scoreboard: &Scoreboard, version: &str, uptime_s: f64) -> Result<String, ExpositionError> {
    let registry = Registry::new();
    let (scoreboard, version) = (scoreboard.clone(), version.to_owned());
    registry.register(Box::new(ScoreboardCollector { scoreboard, version, uptime_s }))?;
    Ok(TextEncoder::new().encode_to_string(&registry.gather())?)
}

/// Reads the sums over all seats, anew for every scrape: no metric lives in process memory.
struct ScoreboardCollector {
    scoreboard: Scoreboard,
    version: String,
    uptime_s: f64,
}

impl Collector for ScoreboardCollector {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.planned();
        let in_flight = gauge(&[], self.scoreboard.totals().in_flight as f64);
        families.push(family(names::IN_FLIGHT, MetricType::GAUGE, vec![in_flight]));
        families.push(family(names::PROCESSES, MetricType::GAUGE, self.processes()));
        families.push(family(names::RESIDENT_BYTES, MetricType::GAUGE, self.resident_memory()));
        families.push(family(names::UPTIME, MetricType::GAUGE, vec![gauge(&[], self.uptime_s)]));
        let build = gauge(&[("version", &self.version)], 1.0);
        families.push(family(names::BUILD_INFO, MetricType::GAUGE, vec![build]));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

impl ScoreboardCollector {
    /// The series of the directory; those of one name stand together there.
    fn planned(&self) -> Vec<MetricFamily> {
        let mut families: Vec<MetricFamily> = Vec::new();
        for (index, series) in self.scoreboard.series().iter().enumerate() {
            let Some(sample) = self.scoreboard.total(index) else { continue };
            if families.last().map(MetricFamily::name) != Some(&series.name) {
                let mut family = family(&series.name, metric_type(&series.kind), Vec::new());
                family.set_help(series.help.clone());
                families.push(family);
            }
            if series.omit_zero && is_zero(&sample) {
                continue;
            }
            let labels: Vec<(&str, &str)> =
                series.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            if let Some(family) = families.last_mut() {
                family.mut_metric().push(metric(&series.kind, &labels, sample));
            }
        }
        families
    }

    fn seats(&self) -> impl Iterator<Item = task_mcp_scoreboard::Seat> {
        (0..self.scoreboard.seats()).filter_map(|index| self.scoreboard.seat(index))
    }

    fn processes(&self) -> Vec<Metric> {
        let live = |wanted| {
            let is_live = |seat: &task_mcp_scoreboard::Seat| seat.state() == SeatState::Live;
            self.seats().filter(|seat| is_live(seat) && seat.role() == Some(wanted)).count() as f64
        };
        ROLES.map(|(role, label)| gauge(&[("role", label)], live(role))).into()
    }

    /// Read from the kernel (proc(5), `statm`): a process that is stuck cannot tell itself.
    fn resident_memory(&self) -> Vec<Metric> {
        let running = self.seats().filter(|seat| !matches!(seat.state(), SeatState::Empty | SeatState::Exited));
        let sample = |seat: task_mcp_scoreboard::Seat| {
            let label = ROLES.into_iter().find(|(role, _)| Some(*role) == seat.role())?.1;
            let statm = fs::read_to_string(format!("/proc/{}/statm", seat.pid())).ok()?;
            let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
            let labels =
                [("role", label), ("slot", &seat.slot().to_string()), ("generation", &seat.generation().to_string())];
            Some(gauge(&labels, (pages * PAGE_BYTES) as f64))
        };
        running.filter_map(sample).collect()
    }
}

const ROLES: [(Role, &str); 3] = [(Role::Supervisor, "supervisor"), (Role::Worker, "worker"), (Role::Admin, "admin")];

/// Of the architectures this server is built for.
const PAGE_BYTES: u64 = 4096;

fn metric_type(kind: &Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram { .. } => MetricType::HISTOGRAM,
    }
}

fn is_zero(sample: &Sample) -> bool {
    match sample {
        Sample::Counter(value) => *value == 0,
        Sample::Gauge(value) => *value == 0,
        Sample::Histogram { counts, .. } => counts.iter().all(|count| *count == 0),
    }
}

fn metric(kind: &Kind, labels: &[(&str, &str)], sample: Sample) -> Metric {
    let mut metric = labelled(labels);
    match sample {
        Sample::Counter(value) => {
            let mut counter = Counter::default();
            counter.set_value(value as f64);
            metric.set_counter(counter);
        }
        Sample::Gauge(value) => {
            let mut gauge = Gauge::default();
            gauge.set_value(value as f64);
            metric.set_gauge(gauge);
        }
        Sample::Histogram { counts, sum_ns } => {
            let bounds: &[u64] = match kind {
                Kind::Histogram { bounds_ns } => bounds_ns,
                Kind::Counter | Kind::Gauge => &[],
            };
            let mut histogram = Histogram::default();
            let mut cumulative = 0;
            let mut buckets = Vec::with_capacity(bounds.len());
            for (bound, count) in bounds.iter().zip(&counts) {
                cumulative += count;
                let mut bucket = Bucket::default();
                bucket.set_cumulative_count(cumulative);
                bucket.set_upper_bound(*bound as f64 / 1e9);
                buckets.push(bucket);
            }
            histogram.set_bucket(buckets);
            histogram.set_sample_count(counts.iter().sum());
            histogram.set_sample_sum(sum_ns as f64 / 1e9);
            metric.set_histogram(histogram);
        }
    }
    metric
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

fn family(name: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(names::help(name).to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use task_mcp_scoreboard::Plan;

    use super::*;
    use crate::{Method, Metrics, Route, plan};

    #[test]
    fn counts_of_all_seats_are_summed_and_survive_their_process() {
        let (tools, codes) = (["t"], ["EBAD"]);
        let scoreboard = Scoreboard::create(&Plan { seats: 2, series: plan(&tools, &codes) }).unwrap();
        for index in 0..2 {
            let seat = scoreboard.seat(index).unwrap();
            seat.begin(1, index, 1, Role::Worker, 0);
            seat.request_started();
            let metrics = Metrics::bind(&scoreboard, &seat, &tools, &codes).unwrap();
            metrics.http.answered(Method::Post, Route::Mcp, 200, Duration::from_micros(80));
            metrics.http.answered(Method::Post, Route::Mcp, 799, Duration::from_secs(60));
            metrics.tools.executed(0, Duration::from_millis(3));
            metrics.tools.failed(0, Some(0));
            metrics.tools.failed(0, None);
            metrics.sse_active.add(1);
        }
        scoreboard.seat(0).unwrap().retire();
        let text = exposition(&scoreboard, "1.2.3", 5.0).unwrap();
        for line in [
            r#"http_requests_total{method="POST",route="/mcp",status_code="200"} 2"#,
            r#"http_requests_total{method="POST",route="/mcp",status_code="other"} 2"#,
            r#"http_request_duration_seconds_bucket{method="POST",route="/mcp",le="0.00005"} 0"#,
            r#"http_request_duration_seconds_bucket{method="POST",route="/mcp",le="0.0001"} 2"#,
            r#"http_request_duration_seconds_bucket{method="POST",route="/mcp",le="+Inf"} 4"#,
            r#"tool_execution_duration_seconds_count{tool="t"} 2"#,
            r#"tool_errors_total{tool="t",code="EBAD"} 2"#,
            r#"tool_errors_total{tool="t",code="other"} 2"#,
            "sse_active_connections 1",
            "task_mcp_http_requests_in_flight 1",
            r#"task_mcp_build_info{version="1.2.3"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains(r#"route="/healthz""#), "untouched label sets are left out");
    }

    #[test]
    fn buckets_contain_the_original_ones() {
        for s in [0.1, 0.3, 0.5, 0.7, 1.0, 3.0, 5.0, 7.0, 10.0] {
            assert!(names::HTTP_BOUNDS_NS.contains(&((s * 1e9) as u64)), "{s}");
        }
        for s in [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0] {
            assert!(names::TOOL_BOUNDS_NS.contains(&((s * 1e9) as u64)), "{s}");
        }
    }

    #[test]
    fn a_directory_of_another_plan_is_refused() {
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series: plan(&["t"], &[]) }).unwrap();
        let seat = scoreboard.seat(0).unwrap();
        assert!(Metrics::bind(&scoreboard, &seat, &["u"], &[]).is_err());
    }
}
