"""`samkit serve-model`: its keys, its refusals, and the server that it makes of its options."""

import pytest
from fastapi.testclient import TestClient

import samkit.http
import samkit.serving
from samkit.cli.main import main
from samkit.predict import Predictor
from samkit.serving import ServedModel, ThreadWorker, read_keys


@pytest.fixture
def served(monkeypatch, tiny_sam):
    """What the command serves: its app and arguments; the model is a tiny one, in a thread."""
    found = {}

    def run_server(app, **options):
        # A server on this machine answers to its own names alone.
        with TestClient(app, "http://localhost") as http:
            found.update(options, model=http.get("/v1/model").json(), app=app)

    def worker(spec, threads):
        found.update(spec=spec, threads=threads)
        return ThreadWorker(lambda: ServedModel(Predictor(tiny_sam, model_name="tiny"), spec))

    monkeypatch.setattr(samkit.http, "run_server", run_server)
    monkeypatch.setattr(samkit.serving, "ProcessWorker", worker, raising=False)
    monkeypatch.setattr("samkit.cli.serve_model.leave", lambda: None)
    return found


def test_options_reach_the_server_and_its_workers(served):
    options = {"workers": 2, "max-queue": 3, "timeout": 9, "cache-gb": 0.5, "port": 0, "threads": 3}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert main(["serve-model", *words, "--max-image-mb", "5"]) == 0
    assert served["model"]["description"]["model"] == "tiny"
    limits = {name: served["model"][name] for name in ("max_queue", "timeout_s", "max_image_mb")}
    assert limits == {"max_queue": 3, "timeout_s": 9, "max_image_mb": 5}
    assert served["model"]["workers_ready"] == 2
    assert (served["threads"], served["port"], served["host"]) == (3, 0, "127.0.0.1")
    assert served["spec"].cache_bytes == 500_000_000
    assert served["max_message_bytes"] == 5 * 2**20
    assert "127.0.0.1 only" in served["loopback_only"]
    assert served["app"].state.config.local_only


def test_a_new_key_opens_the_server_to_others(served, tmp_path, capsys):
    keys = str(tmp_path / "keys.txt")
    assert main(["serve-model", "--new-key", "ann", "--keys", keys]) == 0
    key = capsys.readouterr().out.strip()
    assert not served
    assert main(["serve-model", "--keys", keys, "--host", "0.0.0.0"]) == 0
    assert served["loopback_only"] is None
    config = served["app"].state.config
    assert (config.keys, config.local_only) == (read_keys(tmp_path / "keys.txt"), False)
    http = TestClient(served["app"], headers={"Authorization": f"Bearer {key}"})
    assert http.get("/health/live").status_code == 200


def test_label_studio_is_answered_with_its_key(served, tmp_path):
    (tmp_path / "key").write_text("0123\n")
    words = ["--label-studio", "http://studio/", "--label-studio-key-file", str(tmp_path / "key")]
    assert main(["serve-model", *words, "--label-studio-images", "https://a/"]) == 0
    images = served["app"].state.label_studio
    assert (images.url, images.prefixes) == ("http://studio", ("https://a/",))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "give --keys FILE"),
        (["--new-key", "ann"], "--new-key needs --keys"),
        (["--keys", "none.txt"], "cannot read none.txt"),
        (["--model", "none.pth"], "none.pth"),
        (["--workers", "0"], "--workers"),
        (["--label-studio", "http://studio"], "needs --label-studio-key-file"),
        (["--label-studio-images", "http://a/"], "give the address of Label Studio"),
        (["--label-studio", "studio", "--label-studio-key-file", "key"], "begins with http://"),
        (["--label-studio", "http://studio", "--label-studio-key-file", "empty"], "is empty"),
    ],
)
def test_what_cannot_be_served_is_one_line(served, words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("0123\n")
    (tmp_path / "empty").write_text("\n")
    assert main(["serve-model", *words]) == 2
    assert message in capsys.readouterr().err
    assert not served
