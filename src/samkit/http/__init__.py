"""HTTP, for all servers of this package: running one, its messages, bounded bodies."""

from samkit.http.messages import describe_validation, one_line
from samkit.http.requests import answer_local_names_only, client_address, is_own_origin, limited
from samkit.http.server import run_server
from samkit.http.timeouts import within

__all__ = [
    "answer_local_names_only",
    "client_address",
    "describe_validation",
    "is_own_origin",
    "limited",
    "one_line",
    "run_server",
    "within",
]
