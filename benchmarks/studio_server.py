"""What the measurements of the data engine share: a store with images, and a server process."""

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
    """The place of an empty store: an SQLite file, or a schema of its own in PostgreSQL."""
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
    """Different images: parts of one, resized."""
    random = np.random.default_rng(0)
    height, width = size_hw
    with Image.open(COFFEE) as opened:
        whole = opened.convert("RGB")
    for number in range(count):
        part = random.uniform(0.5, 0.9, 2) * whole.size
        left, top = random.uniform(0, np.array(whole.size) - part)
        box = (left, top, left + part[0], top + part[1])
        image = whole.resize((width, height), Image.Resampling.BILINEAR, box=box)
        image.save(folder / f"{number:06}.jpg", quality=85)


def make_store(where: str, root: Path, num_users: int) -> tuple[int, list[str]]:
    """A store with one project; its number, and the annotators' names."""
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
    """A process of `samkit`, that prints its URL when it answers.

    Attributes:
        url: of the server; of `samkit annotate`, with its token.
        pid: of the process.
    """

    def __init__(self, command: Sequence[str], log: Path, *, cache: Path | None = None) -> None:
        """Start it, and wait for its URL.

        Args:
            command: of `samkit`.
            log: file that its standard error is added to.
            cache: its folder for converted models and embeddings, instead of the usual one.
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
        """Memory that it holds now; Linux only."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError("no VmRSS")

    def errors(self) -> str:
        """All that it has written to standard error."""
        return self._log.read_text(encoding="utf-8", errors="replace").strip()

    def kill(self) -> None:
        """As kill -9."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "Server":  # noqa: PYI034 - there are no subclasses
        return self

    def __exit__(self, *error: object) -> None:
        # With the process that converts the model for the next start.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """As Ctrl+C; its exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(START_TIMEOUT_S)


def serve_command(where: str, port: int = 0) -> list[str]:
    """Command line of a server of a store."""
    return ["serve", "--store", where, "--port", str(port)]


def postgres_url(database: str) -> str | None:
    """The server to measure on: None for SQLite."""
    if database == "sqlite":
        return None
    url = os.environ.get("SAMKIT_TEST_POSTGRES")
    if url is None:
        raise SystemExit("SAMKIT_TEST_POSTGRES has no URL: run it by tools/with_postgres.sh")
    return url
