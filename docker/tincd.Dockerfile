# tinc 1.1 from Debian's package: the other side of the interop tests (interop/howto).
#
#   docker build -f docker/tincd.Dockerfile -t tincd docker
#
# Package files in the build context are installed as they are, with no other source asked; without any it is the
# suite that has tinc 1.1, which BASE must be set up for.
ARG BASE=debian:experimental
FROM ${BASE}
# The first name is there for COPY, which wants one that exists.
COPY tincd.Dockerfile *.deb /packages/
# The package's postinst writes into /etc/tinc.
RUN mkdir -p /etc/tinc \
    && if ls /packages/*.deb >/dev/null 2>&1; then dpkg --install /packages/*.deb; \
       else apt-get update \
            && apt-get install -y --no-install-recommends -t experimental tinc iproute2 iputils-ping \
            && rm -rf /var/lib/apt/lists/*; fi \
    && tincd --version | grep -q ' 1\.1'
ENTRYPOINT ["tincd", "-D"]
