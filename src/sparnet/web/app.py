"""The HTTP API, described by OpenAPI, and the page beside it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, File, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from sparnet.errors import SparnetError
from sparnet.faces.detect import Face
from sparnet.faces.select import parse_numbers
from sparnet.web.batching import Left, Stopped, Ticket
from sparnet.web.desk import Desk
from sparnet.web.guard import Guard
from sparnet.web.metrics import CONTENT_TYPE, Metrics
from sparnet.web.schema import (
    AttentionAnswer,
    FaceFormat,
    Faces,
    Health,
    Limits,
    Models,
    Output,
    PhotoFormat,
    PictureOrJson,
    Problem,
    RestoreAnswer,
    Task,
    UpscaleAnswer,
    describe_found,
    describe_model,
    describe_picture,
    describe_restored,
    describe_upscaled,
)
from sparnet.web.service import (
    MEDIA_TYPES,
    Choices,
    Encoded,
    NotServed,
    Service,
    TooLarge,
    readable_types,
)
from sparnet.web.settings import Settings
from sparnet.weights.catalog import known_models

STATIC = Path(__file__).parent / "static"
PROGRESS = "application/x-ndjson"
_FORGETS_EVERY_SECONDS = 5.0
_MOST_FIELDS = 20
_LARGEST_NUMBER = 10_000
MultiPartParser.spool_max_size = sys.maxsize  # beyond 1 MB it writes to the disk; `Guard` bounds the size

Result = TypeVar("Result")

_PICTURE = {
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in sorted(set(MEDIA_TYPES.values()))
    }
}


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    texts = {
        400: "The request is not HTTP as it should be.",
        401: "A token is needed.",
        403: "The request comes from a page of another site.",
        408: "The picture came too slowly.",
        409: "The server has no model for this.",
        413: "The file or the picture is too large.",
        421: "The server is not known by the name in `Host`.",
        422: "The picture, or a choice, is not what is expected.",
        429: "Too many requests wait; try again after `Retry-After` seconds.",
        503: "The time for the request is over.",
    }
    return {code: {"model": Problem, "description": texts[code]} for code in codes}


_EVERYWHERE = (401, 421)
_WITH_PICTURE = (400, *_EVERYWHERE, 403, 408, 409, 413, 422, 429, 503)

PictureField = Annotated[
    bytes, File(description="JPEG, PNG, WebP, TIFF, BMP, GIF (its first frame), AVIF or HEIC.")
]


async def _known_fields(request: Request) -> None:
    """Refuse fields and parameters that nobody reads, which would be ignored without a word."""
    for name in request.query_params:
        raise HTTPException(422, f"unknown parameter {name[:80]!r}; choices are fields of the form")
    route = request.scope["route"]
    known = {field.alias for field in route.dependant.body_params}
    form = await request.form()
    for name, value in form.multi_items():
        if name not in known:
            raise HTTPException(422, f"unknown field {name[:80]!r}; known: {', '.join(sorted(known))}")
        if name != "picture" and not isinstance(value, str):
            raise HTTPException(422, f"{name}: expected a value, got a file")
    if len(form.multi_items()) > len(set(form)):
        raise HTTPException(422, "a field is given twice")


def make_app(settings: Settings, service: Service, metrics: Metrics, *, version: str = "0") -> Guard:
    """Make the application that a server runs.

    Args:
        settings: Limits.
        service: The models.
        metrics: Counters.
        version: Of the package, for the API's description.
    """
    desk = Desk(settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(_forget(service))
        warming = asyncio.create_task(_warm_up(service, desk))
        try:
            yield
        finally:
            forgetting.cancel()
            await warming
            desk.close()

    api = FastAPI(
        title="sparnet",
        version=version,
        summary="Faces of photos restored, tiny faces enlarged.",
        description=(
            "What the networks add is invented detail: plausible, not evidence of who is shown. "
            "Pictures are worked on in memory and never written to a disk."
        ),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,  # these pages take scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    _add_errors(api)
    _add_state(api, settings, service, metrics)
    _add_work(api, service, desk)

    @api.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(STATIC / "index.html", media_type="text/html; charset=utf-8")

    api.mount("/static", StaticFiles(directory=STATIC), name="static")
    return Guard(api, settings, desk, metrics)


async def _warm_up(service: Service, desk: Desk) -> None:
    seconds = await asyncio.to_thread(service.warm_up)
    desk.expect(seconds * desk.settings.workers)  # the network makes one face after another


async def _forget(service: Service) -> None:
    while True:
        await asyncio.sleep(_FORGETS_EVERY_SECONDS)
        service.forget_old()


def _add_errors(api: FastAPI) -> None:
    """Answer every failure that a client causes with its line."""

    @api.exception_handler(SparnetError)
    async def of_picture(_: Request, error: SparnetError) -> Response:
        status = 422
        for kind, code in ((TooLarge, 413), (NotServed, 409), (Stopped, 503), (Left, 499)):
            if isinstance(error, kind):
                status = code
        return _problem(status, str(error))

    @api.exception_handler(RequestValidationError)
    async def of_fields(_: Request, error: RequestValidationError) -> Response:
        lines = [
            f"{'.'.join(str(part) for part in one['loc'][1:]) or 'the request'}: {one['msg']}"
            for one in error.errors()
        ]
        return _problem(422, "; ".join(lines[:_MOST_FIELDS]))

    @api.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail), headers=error.headers)


def _problem(status: int, detail: str, headers: Any = None) -> Response:
    line = " ".join(detail.split())
    return JSONResponse({"detail": line}, status_code=status, headers=headers)


def _add_state(api: FastAPI, settings: Settings, service: Service, metrics: Metrics) -> None:
    @api.get("/healthz", summary="Whether the server serves", responses=_problems(421))
    async def healthz() -> Health:
        return Health(status="ok", version=api.version)

    @api.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **_problems(*_EVERYWHERE),
        },
    )
    async def counters() -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})

    @api.get("/v1/models", summary="Models and limits", responses=_problems(*_EVERYWHERE))
    def models() -> Models:
        loaded = {info.name: info for info in service.models}
        known = {name: entry.info for name, entry in known_models().items() if name not in loaded}
        return Models(
            models=[
                *(describe_model(info, is_loaded=True) for info in loaded.values()),
                *(describe_model(info, is_loaded=False) for info in known.values()),
            ],
            limits=Limits(
                max_bytes=settings.max_bytes,
                max_pixels=settings.max_pixels,
                max_result_pixels=settings.max_result_pixels,
                max_faces=settings.max_faces,
                time_limit_seconds=settings.time_limit_seconds,
            ),
            formats=readable_types(),
        )


def _add_work(api: FastAPI, service: Service, desk: Desk) -> None:
    async def work(request: Request, task: Callable[[Ticket], Result]) -> Result:
        return await desk.work(task, is_disconnected=request.is_disconnected)

    known = [Depends(_known_fields)]

    @api.post(
        "/v1/faces",
        summary="Find the faces of a photo",
        responses=_problems(*_WITH_PICTURE),
        dependencies=known,
    )
    async def find_faces(request: Request, picture: PictureField) -> Faces:
        photo, faces = await work(request, lambda ticket: service.find_faces(picture, ticket))
        height, width = photo.pixels.shape[:2]
        return Faces(width=width, height=height, faces=describe_found(faces))

    @api.post(
        "/v1/restore",
        summary="Restore the faces of a photo",
        description=(
            "The picture is what `sparnet restore` writes with the same choices. `output=progress` answers "
            "with lines of JSON as the work goes on: `faces` when they are found, `face` after each one "
            "made, and at last `result`, or `error`."
        ),
        response_model=RestoreAnswer,
        responses={
            200: {
                "description": "The photo, or JSON.",
                "content": {
                    **_PICTURE["content"],
                    PROGRESS: {"schema": {"type": "string"}},
                },
            },
            **_problems(*_WITH_PICTURE),
        },
        dependencies=known,
    )
    async def restore(
        *,
        request: Request,
        picture: PictureField,
        faces: Annotated[
            str | None,
            Form(
                description="Numbers of the faces wanted, as in `1,3`; all without.",
                max_length=50_000,
            ),
        ] = None,
        upscale_factor: Annotated[int, Form(description="Enlarges the whole photo.", ge=1, le=8)] = 1,
        fidelity: Annotated[
            float, Form(description="0: what the model makes. 1: the face as it was.", ge=0, le=1)
        ] = 0.0,
        aligned: Annotated[bool, Form(description="Whether the picture is itself an aligned face.")] = False,
        only_center_face: Annotated[bool, Form(description="Only the face nearest to the middle.")] = False,
        max_faces: Annotated[int | None, Form(description="Only the N largest.", ge=1, le=1000)] = None,
        min_face: Annotated[
            float | None, Form(description="Leave faces smaller than this, px, as they are.", ge=20, le=1e6)
        ] = None,
        format: Annotated[PhotoFormat, Form(description="Of the result.")] = PhotoFormat.AUTO,  # noqa: A002
        output: Annotated[Output, Form(description="What is answered.")] = Output.PICTURE,
        crops: Annotated[bool, Form(description="Whether JSON holds each face, before and after.")] = False,
        shown: Annotated[
            bool, Form(description="Whether JSON holds pictures for a browser that cannot show the format.")
        ] = False,
    ) -> Response:
        if aligned:
            given = {
                "upscale_factor": upscale_factor != 1, "only_center_face": only_center_face,
                "max_faces": max_faces is not None, "min_face": min_face is not None,
                "faces": faces is not None,
            }  # fmt: skip
            for name in (name for name, is_given in given.items() if is_given):
                raise HTTPException(422, f"{name}: does not go with aligned, where the picture is the face")
        choices = Choices(
            numbers=None if faces is None else _numbers(faces),
            upscale_factor=upscale_factor,
            fidelity=float(fidelity),
            max_faces=max_faces,
            min_face_px=0.0 if min_face is None else float(min_face),
            only_center_face=only_center_face,
            aligned=aligned,
            suffix=None if format is PhotoFormat.AUTO else f".{format.value}",
        )
        model = "" if service.restoring is None else service.restoring.info.name

        def restored(ticket: Ticket, on_faces: Callable[[list[Face]], None] = lambda _: None) -> Any:
            made = service.restore(
                picture,
                choices,
                ticket,
                crops=crops and output != Output.PICTURE,
                shown=shown,
                on_faces=on_faces,
            )
            # Encoded here, in a thread: base64 of a large photo would hold up the other requests.
            return made if output is Output.PICTURE else describe_restored(made, model).model_dump_json()

        if output is Output.PROGRESS:
            return await _begun(_progress(desk, restored, request.is_disconnected))
        made = await work(request, restored)
        if output is Output.JSON:
            return Response(made, media_type="application/json")
        return _file(made.picture, "restored")

    @api.post(
        "/v1/upscale",
        summary="Enlarge a tiny face",
        description="The picture is what `sparnet upscale` writes.",
        response_model=UpscaleAnswer,
        responses={
            200: {"description": "The face, or JSON.", "content": _PICTURE["content"]},
            **_problems(*_WITH_PICTURE),
        },
        dependencies=known,
    )
    async def upscale(
        request: Request,
        picture: PictureField,
        format: Annotated[FaceFormat, Form(description="Of the result.")] = FaceFormat.PNG,  # noqa: A002
        output: Annotated[PictureOrJson, Form(description="What is answered.")] = PictureOrJson.PICTURE,
    ) -> Response:
        made = await work(request, lambda ticket: service.upscale(picture, f".{format.value}", ticket))
        if output is PictureOrJson.PICTURE:
            return _file(made.picture, "enlarged")
        answer = describe_upscaled(made)
        return Response(answer.model_dump_json(), media_type="application/json")

    @api.post(
        "/v1/attention",
        summary="Draw where the network looks",
        responses=_problems(*_WITH_PICTURE),
        dependencies=known,
    )
    async def attention(
        request: Request,
        picture: PictureField,
        task: Annotated[Task, Form(description="What is done to it.")] = Task.RESTORE,
        face: Annotated[
            int, Form(description="Number of the face in a photo.", ge=1, le=_LARGEST_NUMBER)
        ] = 1,
    ) -> AttentionAnswer:
        name, maps = await work(request, lambda ticket: service.attention(picture, task.value, face, ticket))
        return AttentionAnswer(model=name, maps=[describe_picture(one) for one in maps])


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = parse_numbers(text)
    except ValueError:
        numbers = ()
    if not numbers or max(numbers) > _LARGEST_NUMBER:
        raise HTTPException(422, f"faces: expected numbers of faces from 1, as in 1,3, got {text[:80]!r}")
    return numbers


def _file(picture: Encoded, stem: str) -> Response:
    return Response(
        picture.content,
        media_type=picture.media_type,
        headers={"Content-Disposition": f'attachment; filename="{stem}{picture.suffix}"'},
    )


async def _progress(
    desk: Desk,
    restored: Callable[..., Any],
    is_disconnected: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    """Yield a line of JSON for each step."""

    def task(ticket: Ticket, tell: Callable[[dict[str, object]], None]) -> str:
        ticket.on_face = lambda made: tell({"face": made})

        def on_faces(faces: list[Face]) -> None:
            tell({"faces": [face.model_dump() for face in describe_found(faces)]})

        return restored(ticket, on_faces)

    async for event in desk.work_telling(task, is_disconnected=is_disconnected):
        if isinstance(event, str):
            yield b'{"result": ' + event.encode() + b"}\n"
        else:
            yield json.dumps(event).encode() + b"\n"


async def _begun(lines: AsyncIterator[bytes]) -> Response:
    """Answer with lines as they come; what fails before the first has a status of its own."""
    first = await anext(lines)

    async def all_lines() -> AsyncIterator[bytes]:
        yield first
        try:
            async for line in lines:
                yield line
        except SparnetError as error:
            yield json.dumps({"error": str(error)}).encode() + b"\n"

    return StreamingResponse(all_lines(), media_type=PROGRESS)
