"""What a server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
JOBS = (1, 2, 4, 8, 16)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"samkit_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"samkit_{name}", text, registry=self.registry)

        self.requests = counter("requests", "Requests answered.", "route", "status")
        self.request_seconds = Histogram(
            "samkit_request_seconds",
            "Time to answer a request; of a stream, until it begins.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.job_seconds = Histogram(
            "samkit_job_seconds",
            "Time that a worker took for one or several jobs at once.",
            ["kind"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_jobs = Histogram(
            "samkit_batch_jobs",
            "Jobs of different requests that a worker answered at once.",
            buckets=JOBS,
            registry=self.registry,
        )
        self.refused = counter("refused", "Requests refused since the queue was full.")
        self.timed_out = counter("timed_out", "Requests not answered in time.")
        self.embeddings = counter(
            "embeddings", "Embeddings used, by where they came from.", "source"
        )
        self.workers_lost = counter("workers_lost", "Workers that ended and were replaced.")
        self.workers_ready = gauge("workers_ready", "Workers with a loaded model.")
        self.waiting = gauge("waiting", "Jobs that wait for a worker.")
        self.running = gauge("running", "Jobs in work.")
        self.sessions = gauge("sessions", "Open WebSocket sessions.")

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self.registry)
