"""The API against its own description, with values that nobody would think of."""

import base64

import hypothesis
import pytest

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install 'sparnet[dev]'")

# As a package that is imported for its own sake: its warnings are its own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestWarning")


def operations(server):
    return schemathesis.openapi.from_url(f"{server.address}/openapi.json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("POST", "/v1/faces"),
        ("POST", "/v1/restore"),
        ("POST", "/v1/upscale"),
        ("POST", "/v1/attention"),
    ],
)
def test_no_request_makes_the_server_fail(server, photo, method, path):
    """Whatever comes: no status of 500 or more, none undescribed, and answers of the described shape."""
    from schemathesis.checks import CHECKS

    operation = operations(server)[path][method]
    names = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
    checks = [check for check in CHECKS.get_all() if check.__name__ in names]
    assert len(checks) == len(names)
    seen = set()

    @hypothesis.settings(
        max_examples=40, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy(), is_picture=hypothesis.strategies.booleans())
    def check(case, is_picture):
        if is_picture and isinstance(case.body, dict):  # else few would come beyond its first bytes
            case.body = {**case.body, "picture": photo.read_bytes()}
        response = case.call_and_validate(checks=checks)
        seen.add(response.status_code)

    check()
    assert max(seen) < 500
    assert method == "GET" or {200, 422} & seen


def test_the_description_names_what_is_sent_and_answered(server):
    described = server.get("/openapi.json").json()
    assert described["info"]["title"] == "sparnet"
    assert set(described["paths"]) == {
        "/healthz", "/metrics", "/v1/models", "/v1/faces", "/v1/restore", "/v1/upscale", "/v1/attention",
    }  # fmt: skip
    restore = described["paths"]["/v1/restore"]["post"]
    assert "multipart/form-data" in restore["requestBody"]["content"]
    assert {"image/jpeg", "application/json", "application/x-ndjson"} <= set(
        restore["responses"]["200"]["content"]
    )
    assert {"413", "422", "429"} <= set(restore["responses"])


def test_the_description_is_kept_by_a_real_answer(server, photo):
    operation = operations(server)["/v1/restore"]["POST"]
    answer = server.post("/v1/restore", photo.read_bytes(), output="json", crops="true")
    answer.request.read()
    operation.validate_response(answer)
    assert base64.b64decode(answer.json()["picture"]["base64"])
