# Two stages: build with the pinned toolchain; run with nothing but the binary, a C library and CA roots.
#
# For docker (BuildKit), podman and buildah. Without --platform the image is for this machine; with
# --platform linux/amd64,linux/arm64 it is for both. Either way the compiler runs as this machine's own, and for the
# other architecture it cross-compiles: nothing is emulated, and no step runs in the final image.
#
# The base images are named by tag. To build from known ones, name their digests from outside, for instance
# --build-context gcr.io/distroless/cc-debian12:nonroot=docker-image://gcr.io/distroless/cc-debian12@sha256:...

FROM --platform=$BUILDPLATFORM rust:1.95.0-bookworm AS build
WORKDIR /src
# Given by the builder. A builder that gives none builds for itself.
ARG TARGETARCH
# .cargo/config.toml: what is built for. For the other architecture, also a C compiler (for aws-lc) and Rust's
# standard library; Debian names its C compilers by architecture on both, so one name serves both ways.
RUN case "${TARGETARCH:=$(dpkg --print-architecture)}" in \
      amd64) cpu=x86_64 gcc=gcc-x86-64-linux-gnu libc=libc6-dev-amd64-cross ;; \
      arm64) cpu=aarch64 gcc=gcc-aarch64-linux-gnu libc=libc6-dev-arm64-cross ;; \
      *) echo "$TARGETARCH is not supported: build for amd64 or arm64" >&2; exit 1 ;; \
    esac; \
    if [ "$TARGETARCH" != "$(dpkg --print-architecture)" ]; then \
      rustup target add $cpu-unknown-linux-gnu \
      && apt-get update --quiet && apt-get install --yes --no-install-recommends $gcc $libc \
      && rm -rf /var/lib/apt/lists/* || exit 1; \
    fi; \
    mkdir .cargo \
 && printf '%s\n' '[build]' "target = \"$cpu-unknown-linux-gnu\"" \
      "[target.$cpu-unknown-linux-gnu]" "linker = \"$cpu-linux-gnu-gcc\"" > .cargo/config.toml
# The dependencies: these two layers are built again only when a Cargo.toml or Cargo.lock has changed.
COPY Cargo.toml Cargo.lock ./
COPY tests/bench/Cargo.toml tests/bench/
COPY tests/bridge-front/Cargo.toml tests/bridge-front/
COPY tests/demo/Cargo.toml tests/demo/
COPY tests/e2e/Cargo.toml tests/e2e/
COPY tests/testbed/Cargo.toml tests/testbed/
RUN for crate in . tests/*; do \
      mkdir $crate/src && echo '//! Empty.' > $crate/src/lib.rs \
      && { echo '//! Empty.'; echo 'fn main() {}'; } > $crate/src/main.rs || exit 1; \
    done; \
    # Source files are named by panics, and by C's assertions and errors. The folder of the registry that they came from,
    # or of its mirror, must not show in the binary. Relocations in their short form, which glibc reads from 2.36 on as in
    # the image below, are half a megabyte less that lies in memory.
    cargo fetch --locked \
 && { echo 'rustflags = ["-Clink-arg=-Wl,-z,pack-relative-relocs",'; printf '"--remap-path-prefix=%s=",\n' "$CARGO_HOME"/registry/src/*; echo ']'; \
      echo '[env]'; echo "CFLAGS = '$(printf -- ' -ffile-prefix-map=%s=' "$CARGO_HOME"/registry/src/*)'"; \
    } >> .cargo/config.toml
RUN cargo build --release --locked --bin scim-bridge-operator
# The operator itself. Cargo goes by times: its sources have to be newer than what the layer above has built.
COPY src src
# The runbooks are part of the program.
COPY docs/reasons.md docs/
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin scim-bridge-operator
# The time of the file, and with BuildKit of the image: given, the same sources give the same layer at any time.
ARG SOURCE_DATE_EPOCH=0
RUN cp target/*/release/scim-bridge-operator / && touch --date="@$SOURCE_DATE_EPOCH" /scim-bridge-operator

# glibc, for its resolver (search domains, options, TCP), libgcc, and Debian's CA roots in /etc/ssl/certs. No shell.
FROM gcr.io/distroless/cc-debian12:nonroot
# VERSION is the one of Cargo.toml ('make generate'; a test fails where it differs).
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="scim-bridge-operator" \
      org.opencontainers.image.description="Proves the connection to a 1Password SCIM Bridge, and keeps proving it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build /scim-bridge-operator /scim-bridge-operator
# In numbers: Kubernetes cannot tell from a name whether it is root.
USER 65532:65532
EXPOSE 8080
# Drain, release the Lease, end. Health is asked for by HTTP on the port above: there is no program here to ask with.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/scim-bridge-operator"]
