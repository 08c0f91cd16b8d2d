"""Web server of the data engine: the annotation page, and the REST API behind it.

app = create_app(store, load_predictor=samkit.Predictor.load, config=WebConfig(...))
serve(app, host="127.0.0.1", port=8000)
"""

from samkit.web.app import create_app
from samkit.web.config import WebConfig
from samkit.web.oidc import OidcConfig
from samkit.web.serving import serve

__all__ = ["OidcConfig", "WebConfig", "create_app", "serve"]
