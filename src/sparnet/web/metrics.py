"""Counters of a server, as Prometheus reads them; each server has its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What is counted. Names follow Prometheus' rules: a unit as suffix, `_total` for what only grows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "sparnet_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "sparnet_request_seconds", "Time from a request's first byte to its answer's last.", ["route"],
            registry=self.registry, buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
        )  # fmt: skip
        self.in_hand = Gauge(
            "sparnet_requests_in_hand", "Requests being worked on or waiting.", registry=self.registry
        )
        self.faces = Counter("sparnet_faces", "Faces restored or enlarged.", registry=self.registry)
        self.batch_faces = Histogram(
            "sparnet_batch_faces", "Faces in a batch of the network.", ["task"],
            registry=self.registry, buckets=(1, 2, 4, 8, 16),
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "sparnet_batch_seconds", "Time of a batch of the network.", ["task"],
            registry=self.registry, buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
        )  # fmt: skip

    def count_batch(self, task: str, faces: int, seconds: float) -> None:
        """Count a batch of the network."""
        self.batch_faces.labels(task).observe(faces)
        self.batch_seconds.labels(task).observe(seconds)

    def text(self) -> bytes:
        """Return all counters in Prometheus' text format."""
        return generate_latest(self.registry)
