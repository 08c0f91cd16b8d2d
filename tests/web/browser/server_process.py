"""A server process: server_process.py STORE IMAGES CACHE PORT HINT MEGAPIXELS MODEL."""

import sys
from pathlib import Path

import samkit
from samkit.dataengine import Store
from samkit.web import WebConfig, create_app, serve


def tell(url):
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def main():
    where, images, cache, port, hint_s, megapixels, model = sys.argv[1:]
    # Plain PyTorch: the tests compare with the same.
    load = lambda: samkit.Predictor.load(model, backend="torch", precision="float32")  # noqa: E731
    config = WebConfig(
        cache_folder=Path(cache),
        allowed_roots=(Path(images),),
        hint_after_s=float(hint_s),
        max_megapixels=int(megapixels),
    )
    with Store.open(where) as store:
        app = create_app(store, load_predictor=load, config=config)
        serve(app, host="127.0.0.1", port=int(port), on_ready=tell)


if __name__ == "__main__":
    main()
