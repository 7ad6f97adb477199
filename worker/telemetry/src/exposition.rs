//! The scoreboard as Prometheus text.

use std::collections::HashSet;
use std::path::Path;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};
use task_mcp_scoreboard::{Kind, Role, Sample, Scoreboard, SeatState, Series};

use crate::{kernel, names};

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
        families.extend(self.usage(Path::new(kernel::PROC)));
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
        let absent = self.absent();
        for (index, series) in self.scoreboard.series().iter().enumerate() {
            let Some(sample) = self.scoreboard.total(index) else { continue };
            if families.last().map(MetricFamily::name) != Some(&series.name) {
                let mut family = family(&series.name, metric_type(&series.kind), Vec::new());
                family.set_help(series.help.clone());
                families.push(family);
            }
            if series.omit_zero && is_zero(&sample) || absent.contains(&index) {
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

    /// Positions of the series whose companion says that they mean nothing.
    fn absent(&self) -> HashSet<usize> {
        let all = || self.scoreboard.series().iter().enumerate();
        let companions: HashSet<&str> = all().filter_map(|(_, series)| series.shown_with.as_deref()).collect();
        let is_companion = |(index, series): &(usize, &Series)| {
            companions.contains(series.name.as_str())
                && self.scoreboard.total(*index).is_some_and(|sample| !is_zero(&sample))
        };
        let present: HashSet<(&str, &[(String, String)])> =
            all().filter(is_companion).map(|(_, series)| (series.name.as_str(), series.labels.as_slice())).collect();
        let is_absent = |series: &Series| {
            series.shown_with.as_deref().is_some_and(|name| !present.contains(&(name, series.labels.as_slice())))
        };
        all().filter(|(_, series)| is_absent(series)).map(|(index, _)| index).collect()
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

    /// Read from the kernel: a process that is stuck cannot tell itself. What cannot be read is left out.
    fn usage(&self, proc: &Path) -> Vec<MetricFamily> {
        let (mut resident, mut cpu, mut fds) = (Vec::new(), Vec::new(), Vec::new());
        for seat in self.seats().filter(|seat| !matches!(seat.state(), SeatState::Empty | SeatState::Exited)) {
            let Some((_, role)) = ROLES.into_iter().find(|(role, _)| Some(*role) == seat.role()) else { continue };
            let (slot, generation) = (seat.slot().to_string(), seat.generation().to_string());
            let labels = [("role", role), ("slot", &slot), ("generation", &generation)];
            let usage = kernel::usage(proc, seat.pid());
            resident.extend(usage.resident_bytes.map(|bytes| gauge(&labels, bytes as f64)));
            cpu.extend(usage.cpu_s.map(|seconds| counter(&labels, seconds)));
            fds.extend(usage.open_fds.map(|count| gauge(&labels, count as f64)));
        }
        vec![
            family(names::RESIDENT_BYTES, MetricType::GAUGE, resident),
            family(names::CPU_SECONDS, MetricType::COUNTER, cpu),
            family(names::OPEN_FDS, MetricType::GAUGE, fds),
        ]
    }
}

const ROLES: [(Role, &str); 3] = [(Role::Supervisor, "supervisor"), (Role::Worker, "worker"), (Role::Admin, "admin")];

/// Times lie in nanoseconds on the scoreboard and are exposed in seconds.
const NS_PER_S: f64 = 1e9;

fn metric_type(kind: &Kind) -> MetricType {
    match kind {
        Kind::Counter | Kind::Time => MetricType::COUNTER,
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
    match sample {
        Sample::Counter(value) if *kind == Kind::Time => counter(labels, value as f64 / NS_PER_S),
        Sample::Counter(value) => counter(labels, value as f64),
        Sample::Gauge(value) => gauge(labels, value as f64),
        Sample::Histogram { counts, sum_ns } => {
            let bounds: &[u64] = match kind {
                Kind::Histogram { bounds_ns } => bounds_ns,
                Kind::Counter | Kind::Time | Kind::Gauge => &[],
            };
            let mut histogram = Histogram::default();
            let mut cumulative = 0;
            let mut buckets = Vec::with_capacity(bounds.len());
            for (bound, count) in bounds.iter().zip(&counts) {
                cumulative += count;
                let mut bucket = Bucket::default();
                bucket.set_cumulative_count(cumulative);
                bucket.set_upper_bound(*bound as f64 / NS_PER_S);
                buckets.push(bucket);
            }
            histogram.set_bucket(buckets);
            histogram.set_sample_count(counts.iter().sum());
            histogram.set_sample_sum(sum_ns as f64 / NS_PER_S);
            let mut metric = labelled(labels);
            metric.set_histogram(histogram);
            metric
        }
    }
}

fn counter(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
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
    fn a_series_is_shown_with_its_companion_and_times_are_seconds() {
        let one = |name: &str, kind, slot: &str, shown_with: Option<&str>| Series {
            name: name.into(),
            help: "Help.".into(),
            kind,
            labels: vec![("slot".into(), slot.into())],
            omit_zero: shown_with.is_none(),
            shown_with: shown_with.map(str::to_owned),
        };
        let slots = ["0", "1", "2"];
        let series = slots.map(|slot| one("spent", Kind::Time, slot, Some("there"))).into_iter();
        let series = series.chain(slots.map(|slot| one("there", Kind::Gauge, slot, None))).collect();
        let scoreboard = Scoreboard::create(&Plan { seats: 1, series }).unwrap();
        let seat = scoreboard.seat(0).unwrap();
        (0..2).for_each(|slot| seat.counter(slot).unwrap().add(1_500_000_000 * slot as u64));
        [3, 4].into_iter().for_each(|companion| seat.gauge(companion).unwrap().set(1));
        let text = exposition(&scoreboard, "1", 0.0).unwrap();
        let spent: Vec<&str> = text.lines().filter(|line| line.starts_with("spent")).collect();
        assert_eq!(spent, [r#"spent{slot="0"} 0"#, r#"spent{slot="1"} 1.5"#]);
        assert!(text.contains("# TYPE spent counter"), "{text}");
        seat.gauge(3).unwrap().set(0);
        assert!(!exposition(&scoreboard, "1", 0.0).unwrap().contains(r#"spent{slot="0"}"#), "it is gone");
    }

    #[test]
    fn what_the_kernel_hides_is_absent_and_not_zero() {
        let scoreboard = Scoreboard::create(&Plan { seats: 2, series: vec![] }).unwrap();
        scoreboard.seat(1).unwrap().begin(std::process::id(), 3, 7, Role::Worker, 0);
        let collector = ScoreboardCollector { scoreboard, version: String::new(), uptime_s: 0.0 };
        let samples = |proc: &str| -> Vec<usize> {
            collector.usage(Path::new(proc)).iter().map(|family| family.get_metric().len()).collect()
        };
        assert_eq!(samples("/proc"), [1, 1, 1]);
        assert_eq!(samples("/nowhere"), [0, 0, 0]);
        let text = exposition(&collector.scoreboard, "1", 0.0).unwrap();
        let labels = r#"{role="worker",slot="3",generation="7"} "#;
        for name in [names::RESIDENT_BYTES, names::CPU_SECONDS, names::OPEN_FDS] {
            assert!(text.contains(&format!("{name}{labels}")), "{name} is missing in\n{text}");
        }
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
