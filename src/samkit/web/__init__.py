"""The data engine's server: a page to annotate in, and a REST API that does all that the page does.

app = create_app(store, load_predictor=samkit.Predictor.load, config=WebConfig(...))
serve(app, host="127.0.0.1", port=8000)
"""

from samkit.web.app import create_app
from samkit.web.config import WebConfig
from samkit.web.serving import serve

__all__ = ["WebConfig", "create_app", "serve"]
