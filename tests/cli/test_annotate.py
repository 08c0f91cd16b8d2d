"""`samkit annotate` and `samkit serve` as processes: URL, sign-in, shutdown."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx2
import numpy as np
import pytest
from PIL import Image

from samkit.cli.annotate import own_port
from samkit.cli.main import main
from samkit.dataengine import Store, create_user, list_annotations, list_classes, list_images
from samkit.geometry import encode_rle

TIMEOUT_S = 60


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for number, name in enumerate(("a.png", "b.png")):
        Image.fromarray(np.full((12, 16, 3), 40 * number, np.uint8)).save(root / name)
    return root


@contextmanager
def running(*args):
    """A server's process, and the line that it prints when it is ready."""
    command = [sys.executable, "-W", "error", "-m", "samkit", *map(str, args)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def stopped(process, number=signal.SIGINT):
    """Exit code and standard error of a process after a signal."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, errors


def signed_in(url):
    """A client that has come in by the printed URL, and the session."""
    base, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/\?token=([\w-]{40,})", url).groups()
    http = httpx2.Client(base_url=base, timeout=TIMEOUT_S)
    session = http.post("/api/session", json={"token": token}).raise_for_status().json()
    http.headers["X-CSRF-Token"] = session["csrf_token"]
    return http, session


def take_image(http, project):
    """An image that is held; they are added while the page is open already."""
    while True:
        answer = http.post(f"/api/projects/{project}/next").raise_for_status().json()
        if answer["lease"]:
            return answer["lease"]["image"]


def test_a_person_annotates_a_folder_and_comes_back(folder):
    mask = np.zeros((12, 16), bool)
    mask[2:6, 3:9] = True
    with running("annotate", folder, "--no-browser", "--classes", "cell, nucleus") as (
        process,
        url,
    ):
        http, session = signed_in(url)
        assert session["local"]
        assert session["user"]["role"] == "admin"
        assert http.get("/").headers["content-type"].startswith("text/html")
        (project,) = http.get("/api/projects").json()["items"]
        assert project["name"] == "images"
        image = take_image(http, project["id"])
        body = {"rle": dict(encode_rle(mask)), "request_id": "1"}
        saved = http.post(f"/api/images/{image['id']}/annotations", json=body)
        assert saved.is_success, stopped(process)
        assert saved.json()["area_px"] == 24
        wrong = httpx2.post(f"{http.base_url}/api/session", json={"token": "x" * 43})
        assert wrong.status_code == 401
        code, errors = stopped(process)
        http.close()
    assert code == 0
    assert errors == f"samkit: all masks are in {folder / '.samkit' / 'project.db'}\n"

    target = folder.parent / "moved"
    shutil.move(folder, target)
    with running("annotate", target, "--no-browser") as (process, url):
        http, again = signed_in(url)
        assert again["user"]["id"] == session["user"]["id"]
        (kept,) = http.get(f"/api/images/{image['id']}/annotations").json()["items"]
        assert kept["area_px"] == 24
        assert http.get(f"/api/images/{image['id']}/content").is_success
        code, _ = stopped(process, signal.SIGTERM)
        http.close()
    assert code == 0
    with Store.open(target / ".samkit" / "project.db") as store:
        assert len(list_images(store, project["id"]).items) == 2
        assert len(list_annotations(store, image["id"])) == 1
        assert [one.name for one in list_classes(store, project["id"])] == ["cell", "nucleus"]


def test_a_folder_keeps_its_port_unless_it_is_taken(tmp_path):
    port = own_port(tmp_path)
    assert 49152 <= port <= 65535
    assert own_port(tmp_path) == port
    assert own_port(tmp_path / "other") != port
    with socket.create_server(("127.0.0.1", port)):
        assert own_port(tmp_path) == 0


def test_server_is_made_before_torch_is_imported(tmp_path):
    """The page answers while the model is loaded: torch takes seconds, more on a cold disk."""
    code = f"""
import sys
from samkit.cli.annotate import annotate
from samkit.backends import BackendChoice
from samkit.cli.server import make_app
from samkit.dataengine import Store
with Store.open({str(tmp_path / "store.db")!r}) as store:
    make_app(store, model="mobile_sam", backend=BackendChoice(), cache_gb=1)
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], timeout=TIMEOUT_S, check=True)


def test_many_sign_in_to_a_served_store(folder, capsys):
    assert main(["engine", "init", str(folder), "--json"]) == 0
    place = folder / ".samkit" / "project.db"
    with Store.open(place) as store:
        create_user(store, name="ann", password="correct horse")
    with running("serve", "--store", folder, "--port", "0") as (process, url):
        body = {"name": "ann", "password": "correct horse"}
        with httpx2.Client(base_url=url, timeout=TIMEOUT_S) as http:
            assert http.get("/api/projects").status_code == 401
            session = http.post("/api/session", json=body).raise_for_status().json()
            assert (session["user"]["name"], session["local"]) == ("ann", False)
            assert len(http.get("/api/projects").json()["items"]) == 1
        code, errors = stopped(process)
    assert (code, errors) == (0, "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["annotate", "no-such-folder"], "no such folder: no-such-folder"),
        (["annotate", "empty"], "no image or video in the folder empty"),
        (["annotate", "images", "--model", "sam_vit_x"], "unknown model 'sam_vit_x'"),
        (["annotate", "images", "--store", "images/a.png/x.db"], "give another --store"),
        (["annotate", "images", "--port", "70000"], "--port"),
        (["serve", "--store", "images"], "no store at images/.samkit/project.db"),
        (["serve", "--store", "nobody.db"], "nobody can sign in"),
        (
            [
                "serve",
                "--store",
                "somebody.db",
                "--host",
                "192.0.2.1",
                "--trusted-proxy",
                "127.0.0.1",
            ],
            "cannot listen on 192.0.2.1",
        ),
    ],
)
def test_bad_input_is_one_line(args, message, folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMKIT_STORE", raising=False)
    (tmp_path / "empty").mkdir()
    with Store.open("nobody.db"), Store.open("somebody.db") as store:
        create_user(store, name="ada", role="admin")
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (folder / ".samkit").exists()


def test_a_taken_port_is_one_line(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["annotate", str(folder), "--no-browser", "--port", str(port)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert f"cannot listen on 127.0.0.1, port {port}" in captured.err
    assert captured.out == ""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_server_is_killed(request):
    script = request.config.rootpath / "benchmarks" / "studio_kill.py"
    done = subprocess.run(
        [sys.executable, script, "--kills", "3", "--annotators", "3", "--images", "60"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert shown["kills"] == 3
    assert shown["acknowledged"] > 30
    assert shown["faults"] == []
