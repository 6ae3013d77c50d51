# One pytinc node. docs/deployment.md tells how to run it; compose.yaml is an example.
#
#   docker build -t pytinc .
#   docker run --cap-add NET_ADMIN --device /dev/net/tun -v /etc/tinc:/etc/tinc -e PYTINC_NETWORK=mynet pytinc
#
# The label with version and commit:
#
#   docker build --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) -t pytinc .
#
# Both bases may be replaced: they need Python 3.11 or newer with venv, and (BASE) iproute2 and util-linux's setpriv,
# of which the former is installed where it is missing.
ARG BASE=python:3.13-slim-bookworm
ARG BUILDER=${BASE}

FROM ${BUILDER} AS builder
# pip's own settings, for this stage only: nothing of them is in the image that comes out.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_NO_INDEX
WORKDIR /src
COPY pyproject.toml README.md COPYING ./
COPY man man
COPY src src
COPY systemd systemd
COPY tools/hatch_build.py tools/
RUN python3 -m venv /opt/pytinc \
    && /opt/pytinc/bin/pip install --no-cache-dir '.[all]' \
    && /opt/pytinc/bin/pip uninstall --yes pip setuptools

FROM ${BASE}
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="pytinc" \
      org.opencontainers.image.description="A mesh VPN node, compatible with tinc 1.1, that works as an Ethernet switch" \
      org.opencontainers.image.licenses="GPL-2.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN command -v ip >/dev/null \
    || { apt-get update && apt-get install -y --no-install-recommends iproute2 && rm -rf /var/lib/apt/lists/*; }
# A new volume on /etc/tinc gets its owner from here; the daemon runs as the owner of its configuration.
RUN groupadd --system pytinc \
    && useradd --system --gid pytinc --home-dir /etc/tinc --no-create-home --shell /usr/sbin/nologin pytinc \
    && install -d -o pytinc -g pytinc /etc/tinc
COPY --from=builder /opt/pytinc /opt/pytinc
COPY docker/as-owner /usr/local/bin/as-owner
COPY docker/entrypoint /usr/local/bin/pytinc-entrypoint
RUN ln -s as-owner /usr/local/bin/pytinc
ENV PATH=/usr/local/bin:$PATH:/opt/pytinc/bin PYTINC_NETWORK=mynet
EXPOSE 655/tcp 655/udp
HEALTHCHECK --start-period=30s CMD pytinc -n "$PYTINC_NETWORK" pid >/dev/null
# Begins as root to take hold of the capabilities, and gives root up before anything of pytinc runs (as-owner).
ENTRYPOINT ["pytinc-entrypoint"]
