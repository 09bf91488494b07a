"""`sparnet serve`: the page and the HTTP API."""

import os
from typing import Annotated

import typer

import sparnet
from sparnet.cli import INTERRUPTED
from sparnet.cli.options import DetectorName, Engine, EngineName, finite


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Name or file of a model; twice for one that restores and one that enlarges.",
            show_default=False,
        ),
    ] = None,
    auth_token: Annotated[
        str | None,
        typer.Option(
            envvar="SPARNET_AUTH_TOKEN", metavar="TOKEN", help="What clients must show.", show_default=False
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other computers in without a token.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A name that clients call it by, as behind a proxy.", show_default=False
        ),
    ] = None,
    max_megabytes: Annotated[float, typer.Option(min=0.1, callback=finite, help="Largest request.")] = 25,
    max_megapixels: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="Largest picture; results twice that.")
    ] = 50,
    max_faces: Annotated[int, typer.Option(min=1, help="Faces of a photo, the largest.")] = 64,
    max_waiting: Annotated[int, typer.Option(min=0, help="Requests that may wait; more get 429.")] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Photos at once; memory grows with it.")] = 4,
    time_limit: Annotated[float, typer.Option(min=1, callback=finite, help="Seconds for a request.")] = 120,
    remember: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=finite,
            help="Seconds that faces are kept in memory for a changed choice.",
            show_default="120, or 0 if other computers can call",
        ),
    ] = None,
    detector: DetectorName = "mtcnn",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the network; all cores without.", show_default=False)
    ] = None,
    engine: Engine = EngineName.OPENVINO,
) -> None:
    """Open a page in which photos are restored, and an HTTP API, on this computer alone.

    Pictures stay in memory and are gone when they are answered, faces two
    minutes later (--remember). Stop it with Ctrl-C.
    """
    from sparnet.errors import SparnetError

    try:
        from sparnet.web.app import make_app
        from sparnet.web.metrics import Metrics
        from sparnet.web.server import listen
        from sparnet.web.server import serve as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sparnet"):
            raise
        raise SparnetError(f"the page needs the package {error.name}: pip install 'sparnet[web]'") from None
    from sparnet.web.service import open_service
    from sparnet.web.settings import Settings, check_exposure, is_loopback

    if auth_token is not None and not (
        auth_token.isascii() and auth_token.isprintable() and auth_token.strip()
    ):
        raise typer.BadParameter("must be printable ASCII letters", param_hint="--auth-token")
    if auth_token is not None and auth_token != auth_token.strip():
        raise typer.BadParameter("must not begin or end with a space", param_hint="--auth-token")
    settings = Settings(
        host=host,
        port=port,
        auth_token=auth_token,
        allowed_hosts=tuple(allow_host or ()),
        max_bytes=round(max_megabytes * 1e6),
        max_pixels=round(max_megapixels * 1e6),
        max_result_pixels=round(2e6 * max_megapixels),
        max_faces=max_faces,
        max_waiting=max_waiting,
        workers=workers,
        time_limit_seconds=float(time_limit),
        remember_seconds=float((120 if is_loopback(host) else 0) if remember is None else remember),
    )
    check_exposure(settings, insecure=insecure)
    metrics = Metrics()
    with listen(settings) as opened:
        service = open_service(
            settings, metrics, models=models or (), engine=engine.value, threads=threads, detector=detector
        )
        number = opened.getsockname()[1]

        def tell() -> None:
            shown = f"[{host}]" if ":" in host else host
            *first, last = (info.name for info in service.models)
            names = f"{', '.join(first)} and {last}" if first else last
            typer.echo(f"sparnet serves {names} at http://{shown}:{number} (Ctrl-C ends it)")
            if service.restoring is None:
                typer.echo("sparnet: no model that restores photos is here; name one with -m", err=True)
            if settings.auth_token is not None:
                typer.echo("The page asks for the token, or takes it from its address: .../#token=TOKEN")

        app = make_app(settings, service, metrics, version=sparnet.__version__)
        try:
            run(app, opened, on_start=tell)
        except KeyboardInterrupt:
            if not app.desk.is_working:
                raise
            # An encoder cannot be interrupted, and Python would wait for its thread before it ends.
            typer.echo("sparnet: interrupted", err=True)
            os._exit(INTERRUPTED)
