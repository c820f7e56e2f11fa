# Titan in two stages: built with Rust, run on a slim Debian that has what builds of Node projects need.
#
#     docker build -t titan .
#     docker run --init -p 8080:8080 --env-file titan.env \
#         --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined titan
#
# The three options let Titan make the namespaces in which it locks builds; Docker's defaults forbid them, and Titan then
# refuses to build. A build is no user of this image: it is Titan's user without any rights, in namespaces of its own.
# `--init`: a build's orphans are reaped by an init process, not by Titan. Postgres is not in the image; DATABASE_URL
# names one. The subcommand can be replaced: `docker run … titan migrate`.

ARG DEBIAN=trixie
ARG RUST=1.95
ARG NODE=24

FROM rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /titan
COPY . .
RUN cargo build --release --locked --bin titan

# Debian slim with Node and npm: the sample of what repositories are built with. Others put their tools here.
FROM node:${NODE}-${DEBIAN}-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/titan --shell /usr/sbin/nologin titan \
    && install -d -o titan -g titan -m 0750 /var/lib/titan/data
COPY --from=build /titan/target/release/titan /usr/local/bin/titan

USER titan
WORKDIR /var/lib/titan
ENV BIND_ADDR=0.0.0.0 \
    PORT=8080 \
    OUTPUT_DIR=/var/lib/titan/data
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/titan"]
CMD ["serve"]
