# syntax=docker/dockerfile:1
#
# The plugin server, to run beside an unmodified Kong: it needs one directory that it shares with Kong, where it puts its
# socket and the plugin's description (kong.sock and request-callout.json in /run/request-callout). Nothing else is
# written, so the root file system may be read-only.
#
#   docker build --tag request-callout .
#   docker build --tag request-callout --build-arg COMPILE=1 --build-arg EXTRAS=otel,aws .

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# Extras of the package, separated by commas: otel, aws, azure, gcp.
ARG EXTRAS=""
# 1: compile what runs for every request (mypyc). The compiler stays in this stage, in the version that its base has.
ARG COMPILE=0
# hadolint ignore=DL3008
RUN if [ "${COMPILE}" = 1 ]; then \
      apt-get update && \
      apt-get install --yes --no-install-recommends gcc libc6-dev && \
      rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /src
COPY setup.py setup.cfg pyproject.toml README.md LICENSE ./
COPY schema schema
COPY request_callout request_callout
RUN python -m venv /opt/request-callout && \
    REQUEST_CALLOUT_COMPILE="${COMPILE}" \
      /opt/request-callout/bin/python -m pip install --no-cache-dir --disable-pip-version-check ".${EXTRAS:+[${EXTRAS}]}" && \
    /opt/request-callout/bin/python -m pip uninstall --yes --quiet pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="request-callout" \
      org.opencontainers.image.description="The request-callout plugin for open-source Kong Gateway, as a sidecar" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# The socket is private to this user, so Kong has to run as the same one, or --socket-group has to name a group of Kong's.
RUN groupadd --gid 1000 request-callout && \
    useradd --uid 1000 --gid 1000 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin request-callout && \
    install --directory --owner=1000 --group=1000 --mode=0700 /run/request-callout
COPY --from=build /opt/request-callout /opt/request-callout
ENV PATH=/opt/request-callout/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REQUEST_CALLOUT_SOCKET=/run/request-callout/kong.sock \
    REQUEST_CALLOUT_DUMP_FILE=/run/request-callout/request-callout.json
USER 1000:1000
# Serves as PID 1: it reaps its workers, and finishes the requests in flight on SIGTERM. Stop it with 35 s of patience.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["request-callout", "health"]
ENTRYPOINT ["request-callout"]
CMD ["serve"]
