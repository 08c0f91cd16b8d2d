"""Requests generated from the OpenAPI document: never a 500 or an undocumented answer."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from samkit.proposals import AutoMaskConfig, AutoMasker
from samkit.serving import ServedModel

CHECKS = [
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = 8
NO_TEXT_MODEL = 501  # is a server's error by its number alone


def test_no_request_breaks_the_server(http, sha256, predictor, monkeypatch):
    masker = AutoMasker(predictor, AutoMaskConfig(points_per_side=2))
    monkeypatch.setattr(ServedModel, "_masker", lambda self, config: masker)
    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    asked = set()

    def ask(operation):
        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            deadline=None,
        )
        def once(case):
            if isinstance(case.body, dict) and "image" in case.body:
                case.body["image"] = sha256
            response = case.call(app=http.app)
            asked.add((operation.label, response.status_code))
            checks = CHECKS + [not_a_server_error] * (response.status_code != NO_TEXT_MODEL)
            case.validate_response(response, checks=checks)

        once()

    for result in schema.get_all_operations():
        ask(result.ok())
    assert len({label for label, _ in asked}) == 10
