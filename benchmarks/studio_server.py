"""Shared parts of the data engine's benchmarks: a store with images, and a server process."""

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy import create_engine, make_url, text

import samkit
from samkit.dataengine import Store, add_images, create_project, create_user

PASSWORD = "correct horse"
COFFEE = Path(samkit.__file__).parent / "assets" / "coffee.jpg"
START_TIMEOUT_S = 60


@contextmanager
def empty_database(url: str | None) -> Iterator[str]:
    """Yield the location of an empty store: an SQLite file, or a PostgreSQL schema of its own."""
    if url is None:
        with tempfile.TemporaryDirectory(prefix="samkit-bench-") as folder:
            yield str(Path(folder, "store.db"))
        return
    place = make_url(url).set(drivername="postgresql+psycopg")
    schema = f"bench_{uuid.uuid4().hex}"
    engine = create_engine(place)
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        own = place.update_query_dict({"options": f"-csearch_path={schema}"})
        yield own.render_as_string(hide_password=False)
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    finally:
        engine.dispose()


def make_images(folder: Path, count: int, size_hw: tuple[int, int] = (800, 1200)) -> None:
    """Write distinct images: resized crops of one image."""
    random = np.random.default_rng(0)
    height, width = size_hw
    with Image.open(COFFEE) as opened:
        original = opened.convert("RGB")
    for number in range(count):
        part = random.uniform(0.5, 0.9, 2) ** original.size
        left, top = random.uniform(0, np.array(original.size) - part)
        box = (left, top, left + part[0], top + part[1])
        image = original.resize((width, height), Image.Resampling.BILINEAR, box=box)
        image.save(folder / f"{number:06}.jpg", quality=85)


def make_store(where: str, root: Path, num_users: int) -> tuple[int, list[str]]:
    """Create a store with one project; return its id and the annotators' names."""
    names = [f"annotator-{number:02}" for number in range(num_users)]
    with Store.open(where) as store:
        project = create_project(store, name="bench", root=root)
        report = add_images(store, project.id)
        if report.faults:
            raise RuntimeError(report.faults[0])
        create_user(store, name="admin", role="admin", password=PASSWORD)
        for name in names:
            create_user(store, name=name, password=PASSWORD)
    return project.id, names


class Server:
    """A `samkit` process that prints its URL once it answers requests.

    Attributes:
        url: URL of the server; of `samkit annotate`, with its token.
        pid: process id.
    """

    def __init__(self, command: Sequence[str], log: Path, *, cache: Path | None = None) -> None:
        """Start the process and wait for its URL.

        Args:
            command: arguments of `samkit`.
            log: file to which standard error is appended.
            cache: folder for converted models and embeddings, instead of the default.
        """
        self._log = log
        environment = os.environ if cache is None else os.environ | {"SAMKIT_CACHE": str(cache)}
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "samkit", *command],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
                text=True,
            )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self.pid = self._process.pid
        if not self.url:
            raise RuntimeError(f"the server did not start: {self.errors()}")

    def resident_mb(self) -> float:
        """Resident memory in MB; Linux only."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError("no VmRSS")

    def errors(self) -> str:
        """Everything written to standard error so far."""
        return self._log.read_text(encoding="utf-8", errors="replace").strip()

    def kill(self) -> None:
        """Kill the process as by kill -9."""
        self._process.kill()
        self._wait()

    def __enter__(self) -> "Server":  # noqa: PYI034 - there are no subclasses
        return self

    def __exit__(self, *error: object) -> None:
        # Also kills the process that converts the model for the next start.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._wait()

    def stop(self) -> int:
        """Stop the process as by Ctrl+C; return its exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._wait(START_TIMEOUT_S)

    def _wait(self, timeout_s: float | None = None) -> int:
        assert self._process.stdout is not None
        code = self._process.wait(timeout_s)
        self._process.stdout.close()
        return code


def serve_command(where: str, port: int = 0) -> list[str]:
    """Arguments of a server of a store."""
    return ["serve", "--store", where, "--port", str(port)]


def postgres_url(database: str) -> str | None:
    """URL of the PostgreSQL server to measure on; None for SQLite."""
    if database == "sqlite":
        return None
    url = os.environ.get("SAMKIT_TEST_POSTGRES")
    if url is None:
        raise SystemExit("SAMKIT_TEST_POSTGRES must be a URL: run this by tools/with_postgres.sh")
    return url
