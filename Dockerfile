# The proxy's image. The base may be any with a C library at least as new as the builder's.
ARG BUILDER=rust:1-bookworm
ARG BASE=debian:bookworm-slim

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin rwproxy

FROM ${BASE}
COPY --from=build /src/target/release/rwproxy /usr/local/bin/rwproxy
# Of no account on the host. Reading the Docker socket may need another, or a group: see compose.yaml.
USER 10001:10001
EXPOSE 3306 6032 6080
# A proxy.toml mounted here is found by the proxy and by the health check; without one both go by the defaults.
WORKDIR /etc/rwproxy
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["rwproxy", "healthcheck"]
ENTRYPOINT ["rwproxy"]
