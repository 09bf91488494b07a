# The page and the HTTP API of sparnet, without torch and without root.
#
#   docker build -t sparnet .
#   docker run --rm -p 127.0.0.1:7860:7860 --read-only --tmpfs /tmp -e SPARNET_AUTH_TOKEN=... sparnet
#
# A model file of one's own: -v "$PWD/models:/models:ro" and, at the end, -m /models/MODEL.onnx.

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY recipes ./recipes
# All that is needed is put under one folder, which the next stage takes over: no compiler, no pip cache.
RUN python -m venv /opt/sparnet \
    && /opt/sparnet/bin/pip install --no-cache-dir --no-compile '.[web]'

FROM python:3.12-slim
LABEL org.opencontainers.image.title="sparnet" \
      org.opencontainers.image.description="Faces of photos restored, tiny faces enlarged: page and HTTP API" \
      org.opencontainers.image.licenses="Apache-2.0"
# A user without a home to write to, a shell, or a name that others may have.
RUN groupadd --system --gid 10001 sparnet \
    && useradd --system --uid 10001 --gid sparnet --no-create-home --home-dir /nonexistent \
       --shell /usr/sbin/nologin sparnet
COPY --from=build /opt/sparnet /opt/sparnet
ENV PATH="/opt/sparnet/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/tmp
USER 10001:10001
EXPOSE 7860
# Without SPARNET_AUTH_TOKEN it does not start: inside a container every address is open to others.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=4).read()"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["sparnet", "serve", "--host", "0.0.0.0", "--port", "7860"]
