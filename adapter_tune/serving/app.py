"""The paths of the server, and their documentation."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from adapter_tune import __version__
from adapter_tune.serving import schemas
from adapter_tune.serving.gate import FACTS, HUNG_UP, Gate
from adapter_tune.serving.json_bodies import parse
from adapter_tune.serving.limits import read_body
from adapter_tune.serving.refusals import RefusedRequest, error_response, json_response
from adapter_tune.serving.service import Service

_DESCRIPTION = """Trained tasks on one backbone. A request has one text or several, for one task or several; rows of all
requests and tasks are computed together. `GET /v1/tasks` lists the tasks and what each reads.

If the server has an API key, send it in the header `Authorization: Bearer KEY`."""
_REFUSALS = schemas.error_answers(
    _400="not UTF-8, or not JSON",
    _401="the API key is missing or wrong",
    _404="unknown task",
    _408="the body did not arrive in time",
    _413="the body is too large",
    _415="the body is not declared as JSON",
    _422="JSON, but not as described here",
    _429="too many rows wait; the header Retry-After says when to try again",
    _503="not answered in time, or the server is stopping",
)


def create_app(service: Service) -> Gate:
    """The server as an ASGI application, around what computes."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPIOffline(
        redoc_url=None,
        title="adapter-tune",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        swagger_ui_parameters={"validatorUrl": None},  # it would ask a server on the network
    )
    gate = Gate(app, service.api_key, service.metrics)
    _add_errors(app)
    _add_predict(app, service)
    _add_tasks(app, service)
    _add_state(app, service, gate)
    _add_page(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return gate


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedRequest)
    async def refused(_: Request, error: RefusedRequest) -> Response:
        return error_response(error.status, error.message, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def hung_up(_: Request, __: ClientDisconnect) -> Response:  # nobody gets it; the log has the status
        return Response(status_code=HUNG_UP)

    @app.exception_handler(HTTPException)
    async def no_path(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        message = f"{request.method} {request.url.path[:100]}: {error.detail}; /docs lists the paths"
        return error_response(error.status_code, message, headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:  # the gate logs it
        return error_response(500, "the request failed; the server's log says why")


def _add_state(app: FastAPI, service: Service, gate: Gate) -> None:
    statuses: dict[str, Any] = {"response_model": schemas.Status, "responses": {503: {"model": schemas.Status}}}

    @app.get("/health", tags=["state"], **statuses)
    async def health() -> Response:
        """Whether the process works; needs no key."""
        return _status("ok" if service.is_working else "failed")

    @app.get("/ready", tags=["state"], **statuses)
    async def ready() -> Response:
        """Whether requests are accepted; needs no key."""
        return _status("failed" if not service.is_working else "stopping" if gate.is_stopping else "ok")

    @app.get("/metrics", tags=["state"], response_class=Response, dependencies=[_KEY])
    def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _status(status: str) -> Response:
    return json_response({"status": status}, 200 if status == "ok" else 503)


_KEY = Depends(HTTPBearer(auto_error=False, description="Only if the server has a key; the gate checks it."))


def _add_tasks(app: FastAPI, service: Service) -> None:
    changes = {status: _REFUSALS[status] for status in (401, 404)} | schemas.error_answers(
        _403="the server does not allow changes, or not from this folder"
    )

    @app.get("/v1/tasks", tags=["tasks"], responses={401: _REFUSALS[401]}, dependencies=[_KEY])
    def tasks() -> schemas.TaskList:
        """The tasks, and what each of them reads and predicts."""
        return service.task_list()

    @app.post(
        "/v1/tasks",
        tags=["tasks"],
        status_code=201,
        responses=_REFUSALS | changes | schemas.error_answers(_409="the name is taken"),
        openapi_extra=_body(schemas.AddTaskRequest),
        dependencies=[_KEY],
    )
    async def add_task(request: Request) -> schemas.TaskInfo:
        """Load a run as a task; the server must allow changes (`--allow-changes`)."""
        service.changes.check_allowed()
        body = await read_body(request, service.limits)
        return service.task_info(await service.changes.add(parse(body, schemas.AddTaskRequest)))

    @app.delete(
        "/v1/tasks/{name:path}",
        tags=["tasks"],
        status_code=204,
        response_model=None,
        responses=changes,
        dependencies=[_KEY],
    )
    async def remove_task(name: str) -> None:
        """Unload a task; requests that were accepted are still answered. The server must allow changes."""
        service.changes.remove(name)


def _add_predict(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/predict",
        tags=["predictions"],
        response_model=schemas.PredictResponse,
        responses=_REFUSALS,
        openapi_extra=_body(schemas.PredictRequest),
        dependencies=[_KEY],
    )
    async def predict(request: Request) -> Response:
        """Labels with their probabilities, or a number for a regression."""
        return await service.predictor.answer(request, request.scope[FACTS])


def _add_page(app: FastAPI) -> None:
    text = resources.files("adapter_tune.serving").joinpath("page.html").read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": _policy(text)}

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(text, headers=headers)


def _policy(page: str) -> str:
    """What a browser may do with the page: run its own script and style, and ask its own server."""
    sources = {}
    for tag in ("script", "style"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        sources[tag] = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{sources['script']}'; style-src 'sha256-{sources['style']}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _body(schema: type[BaseModel]) -> dict[str, Any]:
    """The documentation of a body that the path reads itself."""
    reference = {"$ref": f"#/components/schemas/{schema.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the schemas of the bodies that paths read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        bodies = [(schemas.PredictRequest, "validation"), (schemas.AddTaskRequest, "validation")]
        _, definitions = models_json_schema(bodies, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        document["components"]["schemas"].update(definitions["$defs"])
        app.openapi_schema = document
    return app.openapi_schema
